"""The containers and execs of one shim, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.errdefs import AlreadyExists, NotFound
from core.shim.container import Container
from core.shim.log_counts import LogCounter

EXECS_AT_ONCE = 16
"""OCI runtimes that start execs at the same time: more only fight for the CPUs, and each holds half a dozen
descriptors of this process until it is done."""


class Containers:
    """What this shim owns. Their watchers run in `group`."""

    def __init__(self, group: asyncio.TaskGroup, log_counter: LogCounter | None = None) -> None:
        self.group = group
        self.log_counter = log_counter
        self.exec_turn = asyncio.Semaphore(EXECS_AT_ONCE)
        """Held while an exec is being started."""
        self._by_id: dict[str, Container] = {}
        self._watchers: dict[asyncio.Task[None], Container] = {}

    def add(self, container: Container) -> None:
        """Raises AlreadyExists."""
        if container.id in self._by_id:
            raise AlreadyExists(f"task {container.id} exists: delete it first")
        self._by_id[container.id] = container

    def get(self, container_id: str) -> Container:
        """Raises NotFound."""
        try:
            return self._by_id[container_id]
        except KeyError:
            raise NotFound(f"task {container_id}") from None

    def watch(self, container: Container, on_exit: Callable[[Container], None]) -> None:
        """See `Container.wait_exit`."""
        task = self.group.create_task(container.wait_exit(on_exit))
        self._watchers[task] = container
        task.add_done_callback(self._watchers.pop)

    def waiting(self) -> set[asyncio.Task[None]]:
        """The tasks that wait for an exit, without those that see to what one brings."""
        return {task for task, container in self._watchers.items() if container.exit is None}

    def remove(self, container_id: str) -> None:
        self._by_id.pop(container_id, None)

    def list(self) -> list[Container]:
        return list(self._by_id.values())
