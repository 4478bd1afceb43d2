"""Each exit of a container's first process, told once.

An exit can be learnt three times: from the shim's event, which it repeats until it is taken; from the task's state when
a shim is adopted; from the exit record in the bundle when the shim is dead. And an event can come too late, from a task
that was deleted meanwhile. So an exit counts only for a task that is known, by its pid, and only the first time. What
comes before that pid is known waits for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from core.log import get_logger
from core.shim.record import FILE, ExitRecord
from core.tasks.tasks import TaskExit

log = get_logger(__name__)

ANY_PID = 0


@dataclass(slots=True, kw_only=True)
class Expected:
    """A task whose exit is to be told."""

    bundle: str
    pid: int
    """ANY_PID while it is not known."""
    told: bool = False
    early: list[TaskExit] = field(default_factory=list)
    """Exits that came before the pid was known: its own, or of a task before it."""


class Exits:
    def __init__(self) -> None:
        self._tasks: dict[str, Expected] = {}
        self._subscribers: list[Callable[[TaskExit], None]] = []

    def subscribe(self, on_exit: Callable[[TaskExit], None]) -> None:
        self._subscribers.append(on_exit)

    def expect(self, container_id: str, bundle: str) -> None:
        """Tell the exit of this new task when it comes."""
        self._tasks[container_id] = Expected(bundle=bundle, pid=ANY_PID)

    def expect_earlier(self, container_id: str, bundle: str) -> None:
        """Tell the exit of a task that an earlier daemon made. Idempotent."""
        self._tasks.setdefault(container_id, Expected(bundle=bundle, pid=ANY_PID))

    def identify(self, container_id: str, pid: int) -> None:
        """The expected task's process is `pid`. Tells its exit if that was faster."""
        task = self._tasks.get(container_id)
        if task:
            task.pid = pid
            early, task.early = task.early, []
            for exit_ in early:
                self.tell(exit_)

    def forget(self, container_id: str) -> Expected | None:
        """Tell nothing of it any more; returns what `restore` takes. Idempotent."""
        return self._tasks.pop(container_id, None)

    def restore(self, container_id: str, task: Expected | None) -> None:
        """Undo `forget`."""
        if task is not None:
            self._tasks[container_id] = task

    def tell(self, exit_: TaskExit) -> None:
        """Tell subscribers, unless they know or it is no task that is expected."""
        task = self._tasks.get(exit_.container_id)
        if task and task.pid == ANY_PID:
            task.early.append(exit_)
            return
        if task is None or task.told or task.pid != exit_.pid:
            log.debug("exit not told", container_id=exit_.container_id, pid=exit_.pid)
            return
        task.told = True
        for on_exit in self._subscribers:
            on_exit(exit_)

    def recorded(self, container_id: str) -> TaskExit | None:
        """The exit record of an expected task, see `read_record`."""
        task = self._tasks.get(container_id)
        return read_record(container_id, task.bundle, task.pid) if task else None


def read_record(container_id: str, bundle: str, pid: int = ANY_PID) -> TaskExit | None:
    """The exit record in `bundle`; None when there is none, none that makes sense, or that of another `pid`."""
    try:
        with open(os.path.join(bundle, FILE), "rb") as file:
            record = msgspec.json.decode(file.read(), type=ExitRecord)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as exc:
        log.error("exit record makes no sense", container_id=container_id, error=exc)
        return None
    if pid not in (ANY_PID, record.pid):
        return None
    return TaskExit(
        container_id=container_id,
        exec_id="",
        pid=record.pid,
        exit_code=record.exit_code,
        exited_at=record.exited_at,
        oom_killed=record.oom_killed,
    )
