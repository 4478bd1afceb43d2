"""Pods on the embedded bridge."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import shutil
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import msgspec

from core.errdefs import CrispError, DeadlineExceeded, NotFound, Unavailable
from core.failpoint import failpoint
from core.linux.ns import is_pinned
from core.log import get_logger
from core.network import retries
from core.network.blocking import Blocking
from core.network.builtin import links, ports
from core.network.builtin.addresses import Pool
from core.network.builtin.leases import Lease, LeaseFiles
from core.network.netlink import load_codecs
from core.network.network import Network, NetworkResult, NetworkStatus, PodNetwork
from core.network.retries import Retries
from core.network.turns import Turns
from core.process import execute
from core.steps import step
from core.types import identifier

log = get_logger(__name__)

_NFT_TIMEOUT = 60.0  # seconds; it takes 5 ms, and 10 s were not enough on a node with a load of 50
_MAX_NFT_OUTPUT = 64 << 10  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    root: str
    """Directory of the leases, for the network alone."""
    bridge: str = "crisp0"
    subnets: tuple[str, ...] = ("10.88.0.0/16",)
    """One of IPv4, one of IPv6, or both, the primary one first."""
    retry_delays: Sequence[float] = retries.DELAYS


@contextlib.asynccontextmanager
async def open_bridge(
    config: BridgeConfig, executor: Executor, group: asyncio.TaskGroup
) -> AsyncIterator[BridgeNetwork]:
    """The network while the block runs; after it the bridge is gone if no pod has a lease.

    `executor` gets what blocks, `group` what goes on in the background. Raises InvalidArgument (subnets).
    """
    await asyncio.get_running_loop().run_in_executor(executor, load_codecs)  # not on the first pod's time
    network = BridgeNetwork(config, LeaseFiles(config.root), executor, group)
    try:
        yield network
        await network.remove_bridge()
    finally:
        network.close()


class BridgeNetwork:
    """Implements Network with a bridge, which appears with the first pod.

    A lease is written before anything is done and removed after all is undone; all names follow from the pod's id. So a
    crash at any step is undone by `detach`, or by `collect` when the pod is gone.
    """

    def __init__(self, config: BridgeConfig, files: LeaseFiles, executor: Executor, group: asyncio.TaskGroup) -> None:
        self._config = config
        self._files = files
        self._blocking = Blocking(executor, "embedded network")
        self._leases = {lease.pod_id: lease for lease in files.load()}
        self._pools = [Pool(subnet, self._addresses_in_use()) for subnet in config.subnets]
        self._turns = Turns()
        self._retries = Retries(group, config.retry_delays)
        self._making = asyncio.Lock()
        self._nft = shutil.which("nft")

    def close(self) -> None:
        self._retries.close()

    def status(self) -> NetworkStatus:
        if self._nft is None:
            message = "nft is not installed, which the embedded network needs: install nftables"
            return NetworkStatus(ready=False, reason="NetworkPluginNotReady", message=message)
        return NetworkStatus(ready=True)

    async def attach(self, pod: PodNetwork) -> NetworkResult:
        async with self._turns.of_pod(pod.id):
            lease = self._leases.get(pod.id)
            if lease and lease.connected and lease.netns == pod.netns and not self._retries.pending(pod.id):
                return self._result(lease)
            if lease:  # of an attempt that did not end
                await self._release(lease)
            return await self._connect(self._new_lease(pod))

    async def detach(self, pod: PodNetwork) -> None:
        async with self._turns.of_pod(pod.id):
            if lease := self._leases.get(pod.id):
                await self._release(lease)

    def holds(self, pod_id: str) -> bool:
        """Whether the pod is, or may still be, attached here."""
        return pod_id in self._leases

    def held(self) -> frozenset[str]:
        return frozenset(self._leases)

    async def check(self, pod_id: str) -> None:
        async with self._turns.of_pod(pod_id):
            lease = self._leases.get(pod_id)
            if lease is None or not lease.connected or self._retries.pending(pod_id):
                raise NotFound(f"pod {pod_id} is not attached to a network")
            if not is_pinned(lease.netns):
                raise Unavailable(f"network namespace {lease.netns} is not there any more")
            await self._blocking(links.check, lease, self._config.bridge)
            if not self._is_made():
                raise Unavailable(f"packet filter {self._config.bridge} was removed; the next pod brings it back")

    async def collect(self, gone: Collection[str]) -> None:
        """And bring back what somebody has removed of the bridge and its packet filter."""
        for pod_id in self.held().intersection(gone):
            await self._drop(pod_id)
        if self._leases:
            await self._make_bridge()

    async def remove_bridge(self) -> None:
        """Leave nothing on the node, unless a pod has a lease. Raises Unavailable."""
        async with self._turns.alone(), self._making:
            if not self._leases and links.exists(self._config.bridge):
                await self._blocking(links.remove, self._config.bridge)
                await self._run_nft(ports.no_ruleset(self._config.bridge, self._config.subnets))

    def _addresses_in_use(self) -> list[str]:
        return [str(ipaddress.ip_interface(text).ip) for lease in self._leases.values() for text in lease.addresses]

    def _new_lease(self, pod: PodNetwork) -> Lease:
        """Raises InvalidArgument, Unavailable (a host port is taken), ResourceExhausted."""
        identifier(pod.id, "sandbox id")
        for other in self._leases.values():
            for mapping in pod.port_mappings:
                if ports.conflict(mapping, other.ports):
                    port = f"{mapping.host_port}/{mapping.protocol}"
                    raise Unavailable(f"host port {port} is pod {other.pod_id}'s: it is free once that pod is stopped")
        lease = Lease(pod_id=pod.id, netns=pod.netns, addresses=self._take_addresses(), ports=pod.port_mappings)
        self._leases[pod.id] = lease
        return lease

    def _take_addresses(self) -> tuple[str, ...]:
        with contextlib.ExitStack() as undo:
            addresses = []
            for pool in self._pools:
                address = pool.take()
                undo.callback(pool.give_back, address.ip)
                addresses.append(str(address))
            undo.pop_all()
        return tuple(addresses)

    async def _connect(self, lease: Lease) -> NetworkResult:
        connected = replace(lease, connected=True)
        try:
            with step("bridge"):
                await self._make_bridge()
            failpoint("bridge.attach.bridge")
            await self._blocking(self._connect_blocking, lease, connected)
        except CrispError:
            await self._undo(lease)
            raise
        except asyncio.CancelledError:
            self._detach_later(lease.pod_id)
            raise
        self._leases[lease.pod_id] = connected
        return self._result(connected)

    def _connect_blocking(self, lease: Lease, connected: Lease) -> None:
        with step("lease"):
            self._files.put(lease)
        failpoint("bridge.attach.leased")
        gateways = [pool.gateway for pool in self._pools]
        addresses = [ipaddress.ip_interface(text) for text in lease.addresses]
        with step("link"):
            links.connect(lease, self._config.bridge, addresses, gateways)
        failpoint("bridge.attach.linked")
        with step("ports"):
            ports.open_ports(self._config.bridge, lease)
        failpoint("bridge.attach.ports")
        self._files.put(connected)
        failpoint("bridge.attach.connected")

    async def _release(self, lease: Lease) -> None:
        """Undo the lease, whole or half done; if that fails, try again in the background."""
        try:
            await self._blocking(self._release_blocking, lease)
        except BaseException:
            self._detach_later(lease.pod_id)
            raise
        del self._leases[lease.pod_id]
        for pool, address in zip(self._pools, lease.addresses):
            pool.give_back(ipaddress.ip_interface(address).ip)
        self._retries.settle(lease.pod_id)

    def _release_blocking(self, lease: Lease) -> None:
        with step("ports"):
            ports.close_ports(self._config.bridge, lease)
        failpoint("bridge.detach.ports")
        with step("link"):
            links.remove(lease.link)
        failpoint("bridge.detach.unlinked")
        self._files.delete(lease.pod_id)
        failpoint("bridge.detach.released")

    async def _undo(self, lease: Lease) -> None:
        try:
            await self._release(lease)
        except CrispError as exc:
            log.warning("lease cannot be undone now", sandbox_id=lease.pod_id, error=exc)

    async def _drop(self, pod_id: str) -> bool:
        """Detach a pod without anybody to tell of a failure; whether it is detached."""
        async with self._turns.of_pod(pod_id):
            if lease := self._leases.get(pod_id):
                await self._undo(lease)
            return pod_id not in self._leases

    def _detach_later(self, pod_id: str) -> None:
        self._retries.later(pod_id, lambda: self._drop(pod_id))

    async def _make_bridge(self) -> None:
        """Make the bridge and its packet filter, or what somebody has removed of them."""
        if self._is_made():
            return
        async with self._making:
            if not self._is_made():
                await self._run_nft(ports.ruleset(self._config.bridge, self._config.subnets))
                connected = [lease for lease in self._leases.values() if lease.connected]
                await self._blocking(self._make_blocking, connected)  # others may not be on disk yet

    def _is_made(self) -> bool:
        return links.exists(self._config.bridge) and ports.tables_exist(self._config.bridge, self._config.subnets)

    def _make_blocking(self, leases: Sequence[Lease]) -> None:
        links.make_bridge(self._config.bridge, [pool.gateway for pool in self._pools])
        for lease in leases:
            try:
                links.rejoin(lease, self._config.bridge)
                ports.open_ports(self._config.bridge, lease)
            except OSError as exc:  # this pod's affair, and not that of the pod which has the bridge made
                log.warning("pod not connected to the new bridge", sandbox_id=lease.pod_id, error=exc)

    async def _run_nft(self, ruleset: str) -> None:
        if self._nft is None:
            raise Unavailable(self.status().message)
        command = [self._nft, "-f", "-"]
        try:
            done = await execute(command, os.environ, ruleset.encode(), limit=_MAX_NFT_OUTPUT, timeout=_NFT_TIMEOUT)
        except TimeoutError as exc:
            raise DeadlineExceeded(f"nft: no answer in {_NFT_TIMEOUT:g} s") from exc
        if done.code:
            raise Unavailable(f"nft cannot set up the embedded network: {done.stderr.decode(errors='replace').strip()}")

    def _result(self, lease: Lease) -> NetworkResult:
        addresses = [ipaddress.ip_interface(text) for text in lease.addresses]
        document = {
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": self._config.bridge},
                {"name": lease.link},
                {"name": links.POD_INTERFACE, "mac": links.mac(addresses[0]), "sandbox": lease.netns},
            ],
            "ips": [
                {"address": str(address), "gateway": str(pool.gateway.ip), "interface": 2}
                for address, pool in zip(addresses, self._pools)
            ],
            "routes": [{"dst": "::/0" if address.version == 6 else "0.0.0.0/0"} for address in addresses],
        }
        return NetworkResult(
            ips=tuple(str(address.ip) for address in addresses),
            interface=links.POD_INTERFACE,
            raw=msgspec.json.encode(document),
        )


_fits: type[Network] = BridgeNetwork
