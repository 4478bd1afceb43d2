"""Tasks: the running processes of containers, each owned by the shim of its pod.

    created ──start──▶ running ──exit──▶ stopped ──delete──▶ (gone)
       └────────────────exit (init killed)───▶┘

An exit is reported once, after everything the container wrote is in its log, and with the OOM verdict read before it
(hazards 3.24). Exit records lie fsynced in the bundle until `delete`, so an exit while the daemon is down is not lost.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from core.tasks.streams import ExecStreams, Streams
from core.types import Mount


class TaskState(enum.StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskIO:
    """Where a task's output goes: our shim writes the CRI log itself."""

    log_path: str = ""
    """Absolute path of the CRI log file, "" to discard."""
    stdin: bool = False
    stdin_once: bool = False
    terminal: bool = False
    owner: tuple[int, int] = (0, 0)
    """User and group of the node that the pipes belong to: the root of the pod's user namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExit:
    container_id: str
    exec_id: str
    """"" for the container's init."""
    pid: int
    exit_code: int
    """0-255; 128 + signal for a process that a signal ended."""
    exited_at: float
    oom_killed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    state: TaskState
    pid: int = 0
    exit: TaskExit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    stdout: bytes
    stderr: bytes
    exit_code: int


OnExit = Callable[[TaskExit], None]


class Tasks(Protocol):
    """Every call names the container and the sandbox whose shim owns it. Raises Unavailable when the shim is gone."""

    async def create(
        self, sandbox_id: str, container_id: str, bundle: str, *, rootfs: Sequence[Mount] = (), io: TaskIO
    ) -> int:
        """Run the OCI runtime's `create`; return the pid of the container's init, which waits for `start`.

        `rootfs` is mounted at `bundle/rootfs` first; () when it is mounted already. On failure nothing is left and the
        error holds the OCI runtime's own message.
        """

    async def start(self, sandbox_id: str, container_id: str) -> None:
        """Raises FailedPrecondition (not created), Internal with the OCI runtime's message (command not found)."""

    async def kill(self, sandbox_id: str, container_id: str, signal: int, *, all_processes: bool = False) -> None:
        """Success when it has exited. `all_processes` reaches everything in the container's cgroup."""

    async def status(self, sandbox_id: str, container_id: str) -> TaskStatus:
        """Raises NotFound."""

    async def pids(self, sandbox_id: str, container_id: str) -> tuple[int, ...]:
        """Processes in the container, in the node's PID namespace."""

    async def exec_sync(
        self, sandbox_id: str, container_id: str, process: dict[str, Any], *, timeout: float, limit: int
    ) -> ExecResult:
        """Run OCI `process` in the container and collect its output, each stream cut at `limit` bytes (the rest is read
        and dropped, the command never blocks). `timeout` in seconds, 0 for none; then the exec's processes are killed
        and DeadlineExceeded is raised. Output held open by background children is waited for DRAIN seconds at most.
        """

    async def exec(
        self, sandbox_id: str, container_id: str, process: dict[str, Any], *, stdin: bool, stdout: bool, stderr: bool
    ) -> ExecStreams:
        """Run OCI `process` in the container for one client, on a terminal if `process` says so.

        Raises NotFound, FailedPrecondition (not running), Internal with the OCI runtime's words. Cancelled in the
        middle, nothing of it runs on.
        """

    async def attach(
        self, sandbox_id: str, container_id: str, *, stdin: bool, stdout: bool, stderr: bool
    ) -> Streams:
        """Join the container's own streams. Raises NotFound, FailedPrecondition (not running)."""

    async def update(self, sandbox_id: str, container_id: str, resources: dict[str, Any]) -> None:
        """Apply OCI LinuxResources to the running container. On failure the limits are as before.

        Raises Internal with the OCI runtime's own message.
        """

    async def reopen_log(self, sandbox_id: str, container_id: str) -> None:
        """Close the log file and open its path anew, losing no line."""

    async def delete(self, sandbox_id: str, container_id: str) -> TaskExit | None:
        """Remove the stopped (or created) task: runtime state, mounts, exit record. Success when gone (None).

        The exit that is returned is not told to subscribers any more. Raises FailedPrecondition while it runs.
        """

    def subscribe(self, on_exit: OnExit) -> None:
        """Call `on_exit` on the loop for each exit of a container's init, once, in order per container; also for exits
        that happened while no daemon ran, after `adopt`."""

    async def end_hung(self, sandbox_id: str) -> bool:
        """Kill the pod's shim, with all that it runs, if it does not answer; whether none runs any more. Its death and
        the exits are told as ever."""

    async def adopt(self, sandbox_id: str) -> bool:
        """Reconnect to a shim that an earlier daemon started; False when it is dead (its containers are killed then).
        Raises Unavailable when it does not answer in time: nothing is known, try again later."""
