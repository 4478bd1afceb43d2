"""Pods on the networks of the node's CNI plugins."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TypeVar, TypeVarTuple

from core.errdefs import CrispError, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from core.linux.ns import is_pinned
from core.log import get_logger
from core.network import chain
from core.network.attachments import Attachment, Attachments, Interface
from core.network.capabilities import capability_args, cni_args
from core.network.confdir import config_directories, find_plugin, load_networks
from core.network.conflist import STATUS_SINCE, NetworkConfig
from core.network.network import Network, NetworkResult, NetworkStatus, PodNetwork
from core.network.plugin import Plugins
from core.network.result import pod_addresses
from core.network.turns import Turns
from core.network.watch import Watch

log = get_logger(__name__)

T = TypeVar("T")
P = TypeVarTuple("P")

RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
"""Seconds before a DEL that failed is tried again; the last one repeats."""
STATUS_PERIOD = 30.0
"""Seconds between two STATUS calls, for networks of a version that has them."""
_PARALLEL = 4  # detachments at once when collecting: each is several processes


@dataclass(frozen=True, slots=True, kw_only=True)
class CniConfig:
    conf_dir: str
    bin_dirs: tuple[str, ...]
    max_networks: int = 1
    """How many of the configurations in `conf_dir` each pod is attached to: eth0, eth1, …"""
    retry_delays: Sequence[float] = RETRY_DELAYS


@contextlib.asynccontextmanager
async def open_cni(config: CniConfig, attachments: Attachments, executor: Executor) -> AsyncIterator[CniNetwork]:
    """The network, with the configuration and the recorded attachments loaded, while the block runs.

    `executor` gets what blocks on files. Retries under way are given up at the end: their records stay.
    """
    async with asyncio.TaskGroup() as group:
        network = CniNetwork(config, attachments, executor, group)
        try:
            await network.start()
            yield network
        finally:
            network.close()


class CniNetwork:
    """Implements Network by CNI, with each attachment recorded from before its first plugin until after its last DEL.

    Operations of one pod take turns, those of different pods run at once.
    """

    def __init__(
        self, config: CniConfig, attachments: Attachments, executor: Executor, group: asyncio.TaskGroup
    ) -> None:
        self._config = config
        self._files = attachments
        self._executor = executor
        self._group = group
        self._plugins = Plugins(config.bin_dirs)
        self._turns = Turns()
        self._watch = Watch()
        self._networks: tuple[NetworkConfig, ...] = ()
        self._problem = ""
        self._attachments: dict[str, Attachment] = {}
        self._retries: dict[str, asyncio.Task[None]] = {}
        self._following: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Load and begin to follow the configuration directory."""
        self._attachments = {found.pod_id: found for found in await self._blocking(self._files.load)}
        await self._reload()
        self._following = self._group.create_task(self._follow())

    def close(self) -> None:
        self._closed = True
        self._watch.close()
        for task in (self._following, *self._retries.values()):
            if task:
                task.cancel()

    def status(self) -> NetworkStatus:
        if self._problem:
            return NetworkStatus(ready=False, reason="NetworkPluginNotReady", message=self._problem)
        return NetworkStatus(ready=True)

    async def attach(self, pod: PodNetwork) -> NetworkResult:
        async with self._turns.of_pod(pod.id):
            known = self._attachments.get(pod.id)
            if known and known.attached and known.netns == pod.netns and pod.id not in self._retries:
                return _result(known)
            if known:  # an ADD that did not end, or another namespace: the spec wants DEL before the next ADD
                await self._delete(known)
            return await self._add(self._plan(pod))

    async def detach(self, pod: PodNetwork) -> None:
        async with self._turns.of_pod(pod.id):
            if known := self._attachments.get(pod.id):
                await self._delete(replace(known, netns=pod.netns))

    async def check(self, pod_id: str) -> None:
        """CHECK: whether the attachment still is as its plugins made it.

        Raises NotFound when it is not attached, Unavailable with the words of the plugin that is not content.
        """
        async with self._turns.of_pod(pod_id):
            known = self._attachments.get(pod_id)
            if not known or not known.attached:
                raise NotFound(f"pod {pod_id} is not attached to a network")
            for interface in known.interfaces:
                await chain.check(self._plugins, known, interface)

    async def collect(self, keep: Collection[str]) -> None:
        slots = asyncio.Semaphore(_PARALLEL)
        async with asyncio.TaskGroup() as group:
            for pod_id in self._attachments.keys() - set(keep):
                group.create_task(self._drop(pod_id, slots))
        async with self._turns.alone():
            for network in self._networks:
                await chain.collect(self._plugins, network, self._valid(network.name))

    def _plan(self, pod: PodNetwork) -> Attachment:
        if not self._networks:
            raise Unavailable(f"pod {pod.namespace}/{pod.name}: {self._problem}")
        return Attachment(
            pod_id=pod.id,
            netns=pod.netns,
            args=cni_args(pod),
            capability_args=capability_args(pod),
            interfaces=tuple(
                Interface(ifname=f"eth{number}", network=network) for number, network in enumerate(self._networks)
            ),
        )

    async def _add(self, attachment: Attachment) -> NetworkResult:
        """Record, run the plugins, add the results to the record; on failure detach again."""
        self._attachments[attachment.pod_id] = attachment
        try:
            await self._blocking(self._files.put, attachment)
            attached = await self._run_plugins(attachment)
            self._attachments[attachment.pod_id] = attached
            result = _result(attached)
            await self._blocking(self._files.put_results, attached)
        except CrispError:
            await self._undo(attachment.pod_id)
            raise
        except asyncio.CancelledError:
            self._retry_later(attachment.pod_id)
            raise
        return result

    async def _run_plugins(self, attachment: Attachment) -> Attachment:
        """ADD to one network after the other, since the spec forbids to work on one pod in parallel.

        The record gets synced meanwhile: plugins take longer, and what they leave on disk is not safe earlier.
        """
        synced = asyncio.get_running_loop().run_in_executor(self._executor, self._files.sync, attachment.pod_id)
        try:
            interfaces = [
                replace(interface, result=await chain.add(self._plugins, attachment, interface))
                for interface in attachment.interfaces
            ]
        finally:
            await asyncio.wait([synced])
        if exc := synced.exception():
            raise _failed(exc) from exc
        return replace(attachment, interfaces=tuple(interfaces))

    async def _undo(self, pod_id: str) -> None:
        try:
            await self._delete(self._attachments[pod_id])
        except CrispError as exc:
            log.warning("attachment cannot be undone now", sandbox_id=pod_id, error=exc)

    async def _delete(self, attachment: Attachment) -> None:
        """DEL all interfaces and forget the attachment; if that fails, try again in the background."""
        netns = attachment.netns if is_pinned(attachment.netns) else ""
        try:
            for interface in reversed(attachment.interfaces):
                await chain.delete(self._plugins, attachment, interface, netns)
            await self._blocking(self._files.delete, attachment.pod_id)
        except BaseException:
            self._retry_later(attachment.pod_id)
            raise
        del self._attachments[attachment.pod_id]
        retry = self._retries.pop(attachment.pod_id, None)
        if retry and retry is not asyncio.current_task():
            retry.cancel()

    async def _drop(self, pod_id: str, slots: asyncio.Semaphore) -> None:
        """Detach a pod that is no more, without anybody to tell of a failure."""
        async with slots, self._turns.of_pod(pod_id):
            if pod_id in self._attachments:
                await self._undo(pod_id)

    def _retry_later(self, pod_id: str) -> None:
        if not self._closed and pod_id not in self._retries:
            self._retries[pod_id] = self._group.create_task(self._retry(pod_id))

    async def _retry(self, pod_id: str) -> None:
        """DEL until it succeeds; whoever detaches the pod first cancels this."""
        for delay in itertools.chain(self._config.retry_delays, itertools.repeat(self._config.retry_delays[-1])):
            await asyncio.sleep(delay)
            async with self._turns.of_pod(pod_id):
                await self._undo(pod_id)
                if pod_id not in self._attachments:
                    return

    def _valid(self, network: str) -> list[dict[str, str]]:
        return [
            {"containerID": attachment.pod_id, "ifname": interface.ifname}
            for attachment in self._attachments.values()
            for interface in attachment.interfaces
            if interface.network.name == network
        ]

    async def _follow(self) -> None:
        """Keep networks and status up to date."""
        while True:
            asks = any(network.speaks(STATUS_SINCE) for network in self._networks)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATUS_PERIOD if asks else None):
                    await self._watch.wait_changed()
            await self._reload()

    async def _reload(self) -> None:
        """Load the configuration. What is attached is not touched: its record has its own."""
        problem = ""
        try:
            self._networks = await self._blocking(self._load)
            await self._check_ready()
        except FailedPrecondition as exc:
            self._networks, problem = (), f"cni plugin not initialized: {exc}"
        except InvalidArgument as exc:
            self._networks, problem = (), f"cni config load failed: {exc}"
        except CrispError as exc:
            problem = f"cni plugin not ready: {exc}"
        if problem and problem != self._problem:
            log.warning("network not ready", error=problem)
        self._problem = problem

    def _load(self) -> tuple[NetworkConfig, ...]:
        """Watch, then read, so that no change falls in between."""
        self._watch.arm((*config_directories(self._config.conf_dir), *self._config.bin_dirs))
        return load_networks(self._config.conf_dir, self._config.max_networks)

    async def _check_ready(self) -> None:
        for network in self._networks:
            for plugin in network.plugins:
                find_plugin(plugin.type, self._config.bin_dirs)
            await chain.status(self._plugins, network)

    async def _blocking(self, call: Callable[[*P], T], *arguments: *P) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call, *arguments)
        except OSError as exc:
            raise _failed(exc) from exc


def _failed(exc: BaseException) -> Unavailable:
    return Unavailable(f"network records or configuration: {exc}: check the disk")


def _result(attachment: Attachment) -> NetworkResult:
    """What the pod gets to know: the addresses of its first interface."""
    first = attachment.interfaces[0]
    ips = pod_addresses(first.result, first.ifname, first.network.name)
    return NetworkResult(ips=ips, interface=first.ifname, raw=first.result)


_fits: type[Network] = CniNetwork
