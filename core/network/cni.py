"""Pods on the networks of the node's CNI plugins."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from core.errdefs import Unavailable
from core.network import chain, retries
from core.network.attacher import Attacher
from core.network.attachments import Attachment, Attachments, Interface
from core.network.blocking import Blocking
from core.network.capabilities import capability_args, cni_args
from core.network.configuration import Configuration
from core.network.network import Network, NetworkResult, NetworkStatus, PodNetwork
from core.network.plugin import TIMEOUTS, Plugins
from core.network.podcidr import PodRanges
from core.network.result import pod_addresses
from core.network.retries import Retries
from core.network.turns import Turns
from core.telemetry import SILENT, Telemetry

_PARALLEL = 4  # detachments at once when collecting: each is several processes


@dataclass(frozen=True, slots=True, kw_only=True)
class CniConfig:
    conf_dir: str
    bin_dirs: tuple[str, ...]
    max_networks: int = 1
    """How many of the configurations in `conf_dir` each pod is attached to: eth0, eth1, …"""
    timeouts: Mapping[str, float] = field(default_factory=lambda: TIMEOUTS)
    """Seconds that a plugin has, by command."""
    retry_delays: Sequence[float] = retries.DELAYS


@contextlib.asynccontextmanager
async def open_cni(
    config: CniConfig,
    attachments: Attachments,
    executor: Executor,
    group: asyncio.TaskGroup,
    *,
    ranges: PodRanges,
    telemetry: Telemetry = SILENT,
) -> AsyncIterator[CniNetwork]:
    """The network, with the configuration and the recorded attachments loaded, while the block runs.

    `executor` gets what blocks, `group` what goes on in the background. Retries are given up at the end of the block:
    their records stay.
    """
    network = CniNetwork(config, attachments, executor, group, ranges=ranges, telemetry=telemetry)
    try:
        await network.start()
        yield network
    finally:
        network.close()


class CniNetwork:
    """Implements Network by CNI. Operations of one pod take turns, those of different pods run at once."""

    def __init__(
        self,
        config: CniConfig,
        attachments: Attachments,
        executor: Executor,
        group: asyncio.TaskGroup,
        *,
        ranges: PodRanges,
        telemetry: Telemetry,
    ) -> None:
        blocking = Blocking(executor, "records and configuration of CNI")
        self._group = group
        self._ranges = ranges
        self._plugins = Plugins(config.bin_dirs, config.timeouts, telemetry)
        self._turns = Turns()
        self._configuration = Configuration(config.conf_dir, config.max_networks, self._plugins, blocking)
        retrying = Retries(group, config.retry_delays)
        self._attacher = Attacher(attachments, blocking, self._plugins, self._turns, retrying)

    async def start(self) -> None:
        """Load, and begin to follow the configuration directory and to end what an earlier daemon left running."""
        await self._attacher.start(self._group)
        await self._configuration.start(self._group)

    def close(self) -> None:
        self._configuration.close()
        self._attacher.close()

    @property
    def configured(self) -> bool:
        """Whether the directory has a configuration, be it wrong or its plugins not ready."""
        return self._configuration.configured

    def holds(self, pod_id: str) -> bool:
        """Whether the pod is, or may still be, attached here."""
        return self._attacher.find(pod_id) is not None

    def held(self) -> frozenset[str]:
        return self._attacher.held()

    def status(self) -> NetworkStatus:
        problem = self._configuration.problem
        return NetworkStatus(ready=not problem, reason="NetworkPluginNotReady" if problem else "", message=problem)

    async def attach(self, pod: PodNetwork) -> NetworkResult:
        async with self._turns.of_pod(pod.id):
            known = self._attacher.find(pod.id)
            if known and known.netns == pod.netns and self._attacher.attached(pod.id):
                return _result(known)
            if known:  # an ADD that did not end, or another namespace: the spec wants DEL before the next ADD
                await self._attacher.delete(known)
            return _result(await self._attacher.add(await self._plan(pod)))

    async def detach(self, pod: PodNetwork) -> None:
        async with self._turns.of_pod(pod.id):
            if known := self._attacher.find(pod.id):
                await self._attacher.delete(replace(known, netns=pod.netns))

    async def check(self, pod_id: str) -> None:
        async with self._turns.of_pod(pod_id):
            await self._attacher.check(pod_id)

    async def collect(self, gone: Collection[str]) -> None:
        slots = asyncio.Semaphore(_PARALLEL)

        async def drop(pod_id: str) -> None:
            async with slots:
                await self._attacher.drop(pod_id)

        async with asyncio.TaskGroup() as group:
            for pod_id in self.held().intersection(gone):
                group.create_task(drop(pod_id))
        async with self._turns.alone():
            for network in self._configuration.networks:
                await chain.collect(self._plugins, network, self._attacher.valid(network.name))

    async def _plan(self, pod: PodNetwork) -> Attachment:
        networks = await self._configuration.wait_networks()
        if not networks:
            raise Unavailable(f"pod {pod.namespace}/{pod.name}: {self._configuration.problem}")
        return Attachment(
            pod_id=pod.id,
            netns=pod.netns,
            args=cni_args(pod),
            capability_args=capability_args(pod, self._ranges.ranges),
            interfaces=tuple(
                Interface(ifname=f"eth{number}", network=network) for number, network in enumerate(networks)
            ),
        )


def _result(attachment: Attachment) -> NetworkResult:
    """What the pod gets to know: the addresses of its first interface."""
    first = attachment.interfaces[0]
    ips = pod_addresses(first.result, first.ifname, first.network.name)
    return NetworkResult(ips=ips, interface=first.ifname, raw=first.result)


_fits: type[Network] = CniNetwork
