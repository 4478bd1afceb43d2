"""Exits: from a task's end to the container's record, and to whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

from core.failpoint import failpoint
from core.log import get_logger
from core.steps import step
from core.tasks.tasks import TaskExit
from cri.store.container import Container
from cri.store.store import Store

log = get_logger(__name__)

OOM_KILLED = "OOMKilled"


class Exits:
    """Writes exits into records and wakes those who wait."""

    def __init__(self, containers: Store[Container], group: asyncio.TaskGroup) -> None:
        self._containers = containers
        self._group = group
        self._waiting: dict[str, asyncio.Event] = {}

    def on_exit(self, exit_: TaskExit) -> None:
        """For Tasks.subscribe. Exits of execs are their caller's affair."""
        container = self._containers.find(exit_.container_id)
        if container is not None and not exit_.exec_id and not container.finished_at:
            self._group.create_task(self._record(container.id, self._containers.put(exited(container, exit_))))

    async def record(self, container: Container) -> None:
        """Show a container as exited, and wake its waiters when it is written.

        When it cannot be written it has exited all the same: the next daemon learns it from the shim.
        """
        await self._record(container.id, self._containers.put(container))

    async def _record(self, container_id: str, writing: Awaitable[None]) -> None:
        try:
            failpoint("container.exit.told")
            await writing
            failpoint("container.exit.recorded")
        except Exception:  # nobody waits for this task: it must not take the daemon along, nor leave the waiters
            log.exception("exit not recorded", container_id=container_id)
        container = self._containers.find(container_id)
        if container is not None:
            log.info("container exited", container_id=container_id, code=container.exit_code, reason=container.reason)
        self.wake(container_id)

    def wake(self, container_id: str) -> None:
        """End the waits for the exit of a container that does not run, whether it ever has."""
        waiting = self._waiting.pop(container_id, None)
        if waiting:
            waiting.set()

    async def wait_exited(self, container_id: str) -> None:
        """Wait until the container's record says EXITED, is gone, or it turns out that it never ran."""
        container = self._containers.find(container_id)
        if container is not None and not container.finished_at:
            with step("exit of the container"):
                await self._waiting.setdefault(container_id, asyncio.Event()).wait()


def exited(container: Container, exit_: TaskExit) -> Container:
    """The record after the exit. finished_at is never before started_at, whatever the clock did (hazards 3.26)."""
    reason = OOM_KILLED if exit_.oom_killed else "Completed" if exit_.exit_code == 0 else "Error"
    finished = max(round(exit_.exited_at * 1e9), container.started_at, container.created_at)
    return replace(container, finished_at=finished, exit_code=exit_.exit_code, reason=reason, pid=0, lost=False)


