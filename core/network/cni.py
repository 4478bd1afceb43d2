"""Pods on the networks of the node's CNI plugins."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from core.errdefs import CrispError, NotFound, Unavailable
from core.failpoint import failpoint
from core.linux.ns import is_pinned
from core.log import get_logger
from core.network import chain, retries
from core.network.attachments import Attachment, Attachments, Interface
from core.network.blocking import Blocking
from core.network.capabilities import capability_args, cni_args
from core.network.configuration import Configuration
from core.network.network import Network, NetworkResult, NetworkStatus, PodNetwork
from core.network.orphans import end_orphans
from core.network.plugin import TIMEOUTS, Plugins
from core.network.result import pod_addresses
from core.network.retries import Retries
from core.network.turns import Turns
from core.steps import step
from core.telemetry import SILENT, Telemetry

log = get_logger(__name__)

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
    telemetry: Telemetry = SILENT,
) -> AsyncIterator[CniNetwork]:
    """The network, with the configuration and the recorded attachments loaded, while the block runs.

    `executor` gets what blocks, `group` what goes on in the background. Retries are given up at the end of the block:
    their records stay.
    """
    network = CniNetwork(config, attachments, executor, group, telemetry)
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
        self,
        config: CniConfig,
        attachments: Attachments,
        executor: Executor,
        group: asyncio.TaskGroup,
        telemetry: Telemetry,
    ) -> None:
        self._files = attachments
        self._blocking = Blocking(executor, "records and configuration of CNI")
        self._group = group
        self._plugins = Plugins(config.bin_dirs, config.timeouts, telemetry)
        self._turns = Turns()
        self._configuration = Configuration(config.conf_dir, config.max_networks, self._plugins, self._blocking)
        self._attachments: dict[str, Attachment] = {}
        self._orphans: asyncio.Task[None] | None = None
        self._orphaned: frozenset[str] = frozenset()
        """Pods of an earlier daemon, for which a plugin of its may still run."""
        self._retries = Retries(group, config.retry_delays)

    async def start(self) -> None:
        """Load, and begin to follow the configuration directory and to end what an earlier daemon left running."""
        self._attachments = {found.pod_id: found for found in await self._blocking(self._files.load)}
        self._orphaned = self.held()
        self._orphans = self._group.create_task(self._end_orphans())
        await self._configuration.start(self._group)

    def close(self) -> None:
        if self._orphans:
            self._orphans.cancel()
        self._configuration.close()
        self._retries.close()

    @property
    def configured(self) -> bool:
        """Whether the directory has a configuration, be it wrong or its plugins not ready."""
        return self._configuration.configured

    def holds(self, pod_id: str) -> bool:
        """Whether the pod is, or may still be, attached here."""
        return pod_id in self._attachments

    def status(self) -> NetworkStatus:
        problem = self._configuration.problem
        return NetworkStatus(ready=not problem, reason="NetworkPluginNotReady" if problem else "", message=problem)

    async def attach(self, pod: PodNetwork) -> NetworkResult:
        async with self._turns.of_pod(pod.id):
            known = self._attachments.get(pod.id)
            if known and known.attached and known.netns == pod.netns and not self._retries.pending(pod.id):
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

    def held(self) -> frozenset[str]:
        return frozenset(self._attachments)

    async def collect(self, gone: Collection[str]) -> None:
        slots = asyncio.Semaphore(_PARALLEL)

        async def drop(pod_id: str) -> None:
            async with slots:
                await self._drop(pod_id)

        async with asyncio.TaskGroup() as group:
            for pod_id in self.held().intersection(gone):
                group.create_task(drop(pod_id))
        async with self._turns.alone():
            for network in self._configuration.networks:
                await chain.collect(self._plugins, network, self._valid(network.name))

    def _plan(self, pod: PodNetwork) -> Attachment:
        networks = self._configuration.networks
        if not networks:
            raise Unavailable(f"pod {pod.namespace}/{pod.name}: {self._configuration.problem}")
        return Attachment(
            pod_id=pod.id,
            netns=pod.netns,
            args=cni_args(pod),
            capability_args=capability_args(pod),
            interfaces=tuple(
                Interface(ifname=f"eth{number}", network=network) for number, network in enumerate(networks)
            ),
        )

    async def _add(self, attachment: Attachment) -> NetworkResult:
        """Record, run the plugins, add the results to the record; on failure detach again."""
        self._attachments[attachment.pod_id] = attachment
        try:
            with step("attachment"):
                await self._blocking(self._files.put, attachment)
            failpoint("cni.add.recorded")
            attached = await self._run_plugins(attachment)
            failpoint("cni.add.attached")
            self._attachments[attachment.pod_id] = attached
            result = _result(attached)
            with step("attachment"):
                await self._blocking(self._files.put_results, attached)
            failpoint("cni.add.cached")
        except Exception:
            await self._undo(attachment.pod_id)
            raise
        except asyncio.CancelledError:
            self._detach_later(attachment.pod_id)
            raise
        return result

    async def _run_plugins(self, attachment: Attachment) -> Attachment:
        """ADD to one network after the other, since the spec forbids to work on one pod in parallel.

        The record gets synced meanwhile: plugins take longer, and what they leave on disk is not safe earlier.
        """
        synced = asyncio.ensure_future(self._sync(attachment.pod_id))
        try:
            interfaces = [
                replace(interface, result=await chain.add(self._plugins, attachment, interface))
                for interface in attachment.interfaces
            ]
        finally:
            await asyncio.wait([synced])
        await synced
        return replace(attachment, interfaces=tuple(interfaces))

    async def _sync(self, pod_id: str) -> None:
        with step("sync of attachment"):
            await self._blocking(self._files.sync, pod_id)

    async def _undo(self, pod_id: str) -> None:
        try:
            await self._delete(self._attachments[pod_id])
        except CrispError as exc:
            log.warning("attachment cannot be undone now", sandbox_id=pod_id, error=exc)

    async def _end_orphans(self) -> None:
        """They hold up the pods that they were called for: an ADD that ends after the DEL would keep its address."""
        try:
            await self._blocking(end_orphans, self._orphaned)
        except CrispError as exc:
            log.error("plugins of an earlier daemon may still run", error=exc)
        self._orphaned = frozenset()

    async def _delete(self, attachment: Attachment) -> None:
        """DEL all interfaces and forget the attachment; if that fails, try again in the background."""
        if self._orphans and attachment.pod_id in self._orphaned:
            await asyncio.wait([self._orphans])
        netns = attachment.netns if is_pinned(attachment.netns) else ""
        try:
            for interface in reversed(attachment.interfaces):
                await self._run_delete(attachment, interface, netns)
            failpoint("cni.del.detached")
            await self._blocking(self._files.delete, attachment.pod_id)
            failpoint("cni.del.forgotten")
        except BaseException:
            self._detach_later(attachment.pod_id)
            raise
        del self._attachments[attachment.pod_id]
        self._retries.settle(attachment.pod_id)

    async def _run_delete(self, attachment: Attachment, interface: Interface, netns: str) -> None:
        """DEL, and once more at once: the first may stumble over the half of an ADD, and remove it all the same.

        (bridge with ipMasq removes eth0, and fails then since a chain of its is not there.)
        """
        try:
            await chain.delete(self._plugins, attachment, interface, netns)
        except Unavailable as exc:
            log.info("DEL failed once", sandbox_id=attachment.pod_id, error=exc)
            await chain.delete(self._plugins, attachment, interface, netns)

    async def _drop(self, pod_id: str) -> bool:
        """Detach a pod without anybody to tell of a failure; whether it is detached."""
        async with self._turns.of_pod(pod_id):
            if pod_id in self._attachments:
                await self._undo(pod_id)
            return pod_id not in self._attachments

    def _detach_later(self, pod_id: str) -> None:
        self._retries.later(pod_id, lambda: self._drop(pod_id))

    def _valid(self, network: str) -> list[dict[str, str]]:
        return [
            {"containerID": attachment.pod_id, "ifname": interface.ifname}
            for attachment in self._attachments.values()
            for interface in attachment.interfaces
            if interface.network.name == network
        ]


def _result(attachment: Attachment) -> NetworkResult:
    """What the pod gets to know: the addresses of its first interface."""
    first = attachment.interfaces[0]
    ips = pod_addresses(first.result, first.ifname, first.network.name)
    return NetworkResult(ips=ips, interface=first.ifname, raw=first.result)


_fits: type[Network] = CniNetwork
