"""What a new daemon does about the pods of an earlier one: adopt what lives, end what is dead.

    shim answers        → each container as the shim says (cri/container/recover.py)
    shim is dead        → the pod is stopped, its containers are ended and told so
    node has rebooted   → the same, without looking for anybody
    shim does not answer → asked again for ever; meanwhile the pod is what its record says, and after LOST its
                          containers are UNKNOWN, which makes the kubelet replace them
    anything else       → reported and tried again; no pod keeps its neighbours from being served
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterable
from dataclasses import replace

from core.errdefs import CrispError
from core.failpoint import failpoint
from core.log import get_logger
from cri.container.deps import ContainerDeps
from cri.container.recover import (
    KILLED_EXIT,
    UNKNOWN_EXIT,
    end_container,
    lose_container,
    record_end,
    recover_container,
)
from cri.sandbox.deps import SandboxDeps
from cri.store.container import Container
from cri.store.sandbox import PodSandbox

log = get_logger(__name__)

DELAYS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each further attempt; the last one repeats."""
LOST = 60.0
"""Seconds without an answer until containers count as lost: a node under load may keep a shim waiting, and what the
kubelet does about lost ones ends them."""


async def recover(sandboxes: SandboxDeps, containers: ContainerDeps, *, rebooted: bool) -> None:
    """Adopt or end all pods, at the same time; returns when each is one or the other."""
    members: dict[str, list[str]] = {}
    for container in containers.containers.list():
        members.setdefault(container.sandbox_id, []).append(container.id)
    async with asyncio.TaskGroup() as group:
        for pod in sandboxes.sandboxes.list():
            recovery = _Recovery(sandboxes, containers, pod.id, members.get(pod.id, []), rebooted=rebooted)
            group.create_task(recovery.run())


class _Recovery:
    """Of one pod."""

    def __init__(
        self, sandboxes: SandboxDeps, containers: ContainerDeps, pod_id: str, members: list[str], *, rebooted: bool
    ) -> None:
        self._sandboxes = sandboxes
        self._containers = containers
        self._pod_id = pod_id
        self._members = members
        self._rebooted = rebooted

    async def run(self) -> None:
        began = time.monotonic()
        for delay in itertools.chain(DELAYS, itertools.repeat(DELAYS[-1])):
            if await self._attempt():
                return
            if time.monotonic() - began > LOST:
                await self._lose()
            await asyncio.sleep(delay)

    async def _attempt(self) -> bool:
        """Whether nothing remains to be done."""
        try:
            async with self._sandboxes.locks.hold(self._pod_id):
                pod = self._sandboxes.sandboxes.find(self._pod_id)
                if pod is not None and (not pod.stopped or any(self._living())):  # else nobody needs its shim
                    await self._adopt(pod)
        except CrispError as exc:
            log.warning("sandbox not recovered yet", sandbox_id=self._pod_id, error=exc)
            return False
        except Exception:
            log.exception("sandbox not recovered", sandbox_id=self._pod_id)
            return False
        return True

    async def _adopt(self, pod: PodSandbox) -> None:
        async with contextlib.AsyncExitStack() as held:  # nobody starts what is being looked at
            for container in self._living():
                await held.enter_async_context(self._containers.locks.hold(container.id))
            await self._adopt_locked(pod)

    async def _adopt_locked(self, pod: PodSandbox) -> None:
        if not self._rebooted and await self._containers.tasks.adopt(pod.id):
            failpoint("recover.pod.adopted")
            for container in self._living():
                await recover_container(self._containers, container)
            if pod.stopped or await self._sandboxes.controller_of(pod).alive(pod.id):
                return
        elif self._rebooted:
            for container in self._living():
                await record_end(self._containers, container, UNKNOWN_EXIT)
        else:
            for container in self._living():
                await end_container(self._containers, container, KILLED_EXIT)
        failpoint("recover.pod.ended")
        await _stopped(self._sandboxes, pod)

    async def _lose(self) -> None:
        for container in self._living():
            await lose_container(self._containers, container)

    def _living(self) -> Iterable[Container]:
        found = map(self._containers.containers.find, self._members)
        return (container for container in found if container is not None and not container.finished_at)


async def pod_died(sandboxes: SandboxDeps, containers: ContainerDeps, sandbox_id: str) -> None:
    """The pod's shim has died while we watched, and its containers were killed with it (hazards 3.8)."""
    pod = sandboxes.sandboxes.find(sandbox_id)
    if pod is None:
        return
    log.error("shim died", sandbox_id=sandbox_id)
    for container in containers.containers.list():
        if container.sandbox_id == sandbox_id:
            await end_container(containers, container, KILLED_EXIT)
    await _stopped(sandboxes, pod)


async def root_ended(sandboxes: SandboxDeps, sandbox_id: str) -> None:
    """The pod's root container has exited: the pod is not ready, and the kubelet will replace it. Its other containers
    are the kubelet's to stop, as ever."""
    async with sandboxes.locks.hold(sandbox_id):
        pod = sandboxes.sandboxes.find(sandbox_id)
        if pod is not None and not pod.stopped:
            log.error("root container ended", sandbox_id=sandbox_id)
            await _stopped(sandboxes, pod)


async def _stopped(sandboxes: SandboxDeps, pod: PodSandbox) -> None:
    if not pod.stopped:
        await sandboxes.sandboxes.put(replace(pod, stopped=True))
