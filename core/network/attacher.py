"""Attaching and detaching: plugins run, with a record from before the first ADD until after the last DEL."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from core.errdefs import CrispError, NotFound, Unavailable
from core.failpoint import failpoint
from core.linux.ns import is_pinned
from core.log import get_logger
from core.network import chain
from core.network.attachments import Attachment, Attachments, Interface
from core.network.blocking import Blocking
from core.network.orphans import Orphans
from core.network.plugin import Plugins
from core.network.result import pod_addresses
from core.network.retries import Retries
from core.network.turns import Turns
from core.steps import step

log = get_logger(__name__)


class Attacher:
    """What is attached, and how it comes to be and to end. `add`, `check` and `delete` are for callers who have the
    pod's turn.

    What cannot be detached is tried again in the background until it is.
    """

    def __init__(
        self, files: Attachments, blocking: Blocking, plugins: Plugins, turns: Turns, retrying: Retries
    ) -> None:
        self._files = files
        self._blocking = blocking
        self._plugins = plugins
        self._turns = turns
        self._retries = retrying
        self._attachments: dict[str, Attachment] = {}
        self._orphans = Orphans(blocking)

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Load what is recorded, and begin to end the plugins that an earlier daemon left running."""
        self._attachments = {found.pod_id: found for found in await self._blocking(self._files.load)}
        self._orphans.start(group, self.held())

    def close(self) -> None:
        self._orphans.close()
        self._retries.close()

    def find(self, pod_id: str) -> Attachment | None:
        """What is recorded of the pod: it is, or may still be, attached."""
        return self._attachments.get(pod_id)

    def attached(self, pod_id: str) -> bool:
        """Whether all of it is there, and nobody has begun to detach it."""
        known = self._attachments.get(pod_id)
        return known is not None and known.attached and not self._retries.pending(pod_id)

    def held(self) -> frozenset[str]:
        return frozenset(self._attachments)

    async def check(self, pod_id: str) -> None:
        """As Network.check."""
        known = self._attachments.get(pod_id)
        if not known or not self.attached(pod_id):
            raise NotFound(f"pod {pod_id} is not attached to a network")
        if not is_pinned(known.netns):
            raise Unavailable(f"network namespace {known.netns} is not there any more")
        for interface in known.interfaces:
            await chain.check(self._plugins, known, interface)

    def valid(self, network: str) -> list[dict[str, str]]:
        """All attachments to `network`, as GC wants them (CNI spec 1.1, section 2)."""
        return [
            {"containerID": attachment.pod_id, "ifname": interface.ifname}
            for attachment in self._attachments.values()
            for interface in attachment.interfaces
            if interface.network.name == network
        ]

    async def add(self, attachment: Attachment) -> Attachment:
        """Record, run the plugins, add the results to the record, which is returned; on failure detach again.

        Raises Unavailable, ResourceExhausted, DeadlineExceeded.
        """
        self._attachments[attachment.pod_id] = attachment
        try:
            with step("attachment"):
                await self._blocking(self._files.put, attachment)
            failpoint("cni.add.recorded")
            attached = await self._run_plugins(attachment)
            failpoint("cni.add.attached")
            self._attachments[attachment.pod_id] = attached
            _check_addresses(attached)
            with step("attachment"):
                await self._blocking(self._files.put_results, attached)
            failpoint("cni.add.cached")
        except Exception:
            await self._undo(attachment.pod_id)
            raise
        except asyncio.CancelledError:
            self._detach_later(attachment.pod_id)
            raise
        return attached

    async def delete(self, attachment: Attachment) -> None:
        """DEL all interfaces and forget the attachment. Raises Unavailable, DeadlineExceeded."""
        await self._orphans.wait_ended(attachment.pod_id)
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

    async def drop(self, pod_id: str) -> bool:
        """Detach a pod without anybody to tell of a failure; whether it is detached."""
        async with self._turns.of_pod(pod_id):
            if pod_id in self._attachments:
                await self._undo(pod_id)
            return pod_id not in self._attachments

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
            await self.delete(self._attachments[pod_id])
        except CrispError as exc:
            log.warning("attachment cannot be undone now", sandbox_id=pod_id, error=exc)

    async def _run_delete(self, attachment: Attachment, interface: Interface, netns: str) -> None:
        """DEL, and once more at once: the first may stumble over the half of an ADD, and remove it all the same.

        (bridge with ipMasq removes eth0, and fails then since a chain of its is not there.)
        """
        try:
            await chain.delete(self._plugins, attachment, interface, netns)
        except Unavailable as exc:
            log.info("DEL failed once", sandbox_id=attachment.pod_id, error=exc)
            await chain.delete(self._plugins, attachment, interface, netns)

    def _detach_later(self, pod_id: str) -> None:
        self._retries.later(pod_id, lambda: self.drop(pod_id))


def _check_addresses(attachment: Attachment) -> None:
    """Raises Unavailable when the pod could not be reached by its first interface, which is the one that it tells."""
    first = attachment.interfaces[0]
    pod_addresses(first.result, first.ifname, first.network.name)
