"""One container: its first process, that process's output, its exit.

    created ──start──▶ running ──exit──▶ stopped
       └──────────exit (init killed)──────▲
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass

from core.errdefs import CrispError, FailedPrecondition
from core.failpoint import failpoint
from core.linux.cgroup import CgroupLayout
from core.log import get_logger
from core.shim.cgroup import ContainerCgroup
from core.shim.console import Console
from core.shim.log_counts import LogCounter
from core.shim.logs import LogFile
from core.shim.luggage import Luggage, Packed
from core.shim.oci_runtime import OciRuntime
from core.shim.outputs import Outputs
from core.shim.reaper import Process, Reaper
from core.shim.record import ExitRecord
from core.shim.stdio import open_fifo, open_stdin, pipe

log = get_logger(__name__)

SIGKILL_CODE = 128 + signal.SIGKILL


class State(enum.Enum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdio:
    """Where a process's standard streams go: FIFOs of the shim v2 contract, or our log when `log_path` is set."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False
    log_path: str = ""
    keep_stdin: bool = False
    """Keep a pipe that attach writes to."""
    stdin_once: bool = False
    """Give it away to the first attach: its end is the client's (CRI, ContainerConfig.stdin_once)."""


class Container:
    """A container that was created. `on_exit` is called once, when everything it wrote is in its log."""

    def __init__(
        self,
        container_id: str,
        runtime: OciRuntime,
        stdio: Stdio,
        layout: CgroupLayout,
        counter: LogCounter | None = None,
    ) -> None:
        self.id = container_id
        self.runtime = runtime
        self.stdio = stdio
        self.state = State.CREATED
        self.process: Process | None = None
        self.exit: ExitRecord | None = None
        self.exited = asyncio.Event()
        self.log = LogFile("")
        self.console: Console | None = None
        self.stdin = -1
        self.outputs = Outputs(self.log)
        self._layout = layout
        self._counter = counter
        self._cgroup: ContainerCgroup | None = None
        self._killed = False
        self._turn = asyncio.Lock()
        """One at a time: the runtime's start and delete. A short container ends before `start` has."""
        self._deleted = False

    @property
    def pid(self) -> int:
        """Of its first process, 0 before it is created."""
        return self.process.pid if self.process else 0

    @property
    def bundle(self) -> str:
        return self.runtime.bundle

    async def create(self) -> None:
        """Run the OCI runtime's create. On failure nothing is left."""
        self.log = LogFile(self.stdio.log_path, self._counter)
        self.outputs = Outputs(self.log)
        try:
            if self.stdio.terminal:
                await self._create_with_console()
            else:
                await self._create_with_pipes()
            self._cgroup = ContainerCgroup.of(self._layout, self.pid)
            failpoint("shim.create.created")
        except BaseException:
            self._release()
            with contextlib.suppress(CrispError):
                await self.runtime.delete(self.id, force=True)
            raise

    async def _create_with_pipes(self) -> None:
        with contextlib.ExitStack() as ours:  # the runtime's ends: closed here once it has them
            stdio = [self._stdin(ours)]
            for stream, fifo in (("stdout", self.stdio.stdout), ("stderr", self.stdio.stderr)):
                stdio.append(self._output(ours, stream, fifo))
            self.process = await self.runtime.create(self.id, stdio)

    def _stdin(self, ours: contextlib.ExitStack) -> int:
        fd, self.stdin = os.pipe() if self.stdio.keep_stdin else open_stdin(self.stdio.stdin)
        ours.callback(os.close, fd)
        return fd

    def _output(self, ours: contextlib.ExitStack, stream: str, fifo: str) -> int:
        if fifo:
            write = open_fifo(fifo)
        else:
            read, write = pipe()
            self.outputs.pump(stream, read)
        ours.callback(os.close, write)
        return write

    async def _create_with_console(self) -> None:
        async with Console.receiving(self.bundle) as console:
            self.process = await self.runtime.create(self.id, (), console.socket_path)
            self.console = await console.wait_received()
        output = self.console.attach(self.stdio.stdin, self.stdio.stdout, self.outputs.sink("stdout"))
        self.outputs.add("stdout", output)

    def stdin_for_attach(self) -> int:
        """A descriptor to type into, the caller's to close; -1 when there is no stdin, or no more."""
        if self.console:
            return os.dup(self.console.master)
        if self.stdin >= 0 and not self.stdio.stdin_once:
            return os.dup(self.stdin)
        given, self.stdin = self.stdin, -1
        return given

    @property
    def backlog_directory(self) -> str:
        """Where output waits for slow clients: on the disk of the log, for the bundle lies in memory."""
        return os.path.dirname(self.stdio.log_path) or self.bundle

    async def start(self) -> None:
        """Raises FailedPrecondition when it is not created, Internal with the OCI runtime's words."""
        if self.state is not State.CREATED:
            raise FailedPrecondition(f"container {self.id} is {self.state.value}, not created")
        async with self._turn:
            await self.runtime.start(self.id)
            failpoint("shim.start.started")
        if self.state is State.CREATED:  # it may have exited meanwhile
            self.state = State.RUNNING

    async def wait_exit(self, on_exit: Callable[[Container], None]) -> None:
        """Watch the first process to its end and see to everything that must come before the news of it."""
        assert self.process is not None
        code = await self.process.exit
        failpoint("shim.exit.seen")
        # At once: systemd removes the cgroup, and the count with it, as soon as it hears that it is empty.
        oom = code == SIGKILL_CODE and not self._killed and self._cgroup is not None and self._cgroup.oom_killed()
        await self._end_leftovers()
        await self.outputs.drain()
        self.exit = ExitRecord.now(self.pid, code, oom_killed=oom)
        try:
            self.exit.save(self.bundle)
            failpoint("shim.exit.saved")
        except OSError as exc:  # a full /run costs nobody a pod: who asks while this shim lives hears of the exit
            log.error("exit not recorded", container_id=self.id, code=code, error=exc)
        self.state = State.STOPPED
        self._release()
        on_exit(self)
        self.exited.set()
        with contextlib.suppress(CrispError):  # `delete` will try again, and tell
            await self._delete()

    async def _end_leftovers(self) -> None:
        """Processes that outlive the first one have no PID namespace that ends with it: kill them."""
        if self.pids():
            with contextlib.suppress(CrispError):
                await self.runtime.kill_all(self.id, signal.SIGKILL)

    async def kill(self, signum: int, *, everything: bool = False) -> None:
        """Signal the first process, or all of them. Success when it has exited.

        Raises FailedPrecondition while it is being created.
        """
        if self.process is None:
            raise FailedPrecondition(f"container {self.id} is being created: nothing to kill yet")
        if self.exit is not None:
            return
        self._killed = self._killed or signum == signal.SIGKILL
        if everything and signum != signal.SIGKILL:
            await self.runtime.kill_all(self.id, signum)
            return
        self.process.kill(signum)

    def require_running(self) -> None:
        """Raises FailedPrecondition, also when its first process has ended and its log is being drained."""
        if self.state is not State.RUNNING or self.process is None or self.process.exit.done():
            state = State.STOPPED if self.state is State.RUNNING else self.state
            raise FailedPrecondition(f"container {self.id} is {state.value}, not running")

    def pids(self) -> tuple[int, ...]:
        """The processes in the container's cgroup, in our PID namespace; () when it has ended."""
        return self._cgroup.pids() if self._cgroup else ()

    def close_stdin(self) -> None:
        """Let the first process see the end of its input, unless others write to it. Idempotent."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def reopen_log(self) -> None:
        self.log.reopen()

    async def delete(self) -> None:
        """Remove what the OCI runtime keeps. Raises FailedPrecondition while it runs."""
        if self.state in (State.RUNNING, State.PAUSED):
            raise FailedPrecondition(f"container {self.id} is {self.state.value}: kill it first")
        await self._delete()
        failpoint("shim.delete.deleted")
        if self.exit is None:  # created, never started
            await self.exited.wait()

    async def _delete(self) -> None:
        """Once, right after the exit: nobody has a use for the runtime's state then, and whoever removes the container
        need not wait for it to go."""
        async with self._turn:
            if not self._deleted:
                await self.runtime.delete(self.id, force=True)
                self._deleted = True

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way with it that `put_down` could not tell."""
        stdio, process = self.stdio, self.process
        fifos = stdio.stdin or stdio.stdout or stdio.stderr
        return not fifos and process is not None and process.exit.done() == self.exited.is_set()

    def put_down(self, luggage: Luggage) -> Packed:
        return {
            "id": self.id,
            "runtime": self.runtime.put_down(),
            "stdio": asdict(self.stdio),
            "state": self.state.value,
            "pid": self.pid,
            "exit": self.exit and asdict(self.exit),
            "log": self.log.put_down(luggage),
            "console": self.console and self.console.put_down(luggage),
            "stdin": luggage.pack(self.stdin),
            "outputs": self.outputs.put_down(luggage),
            "cgroup": self._cgroup and asdict(self._cgroup),
            "killed": self._killed,
            "deleted": self._deleted,
        }

    @classmethod
    def take_up(
        cls, state: Packed, luggage: Luggage, reaper: Reaper, layout: CgroupLayout, counter: LogCounter | None
    ) -> Container:
        """Its first process is watched from now on."""
        runtime = OciRuntime(**state["runtime"], reaper=reaper)
        container = cls(state["id"], runtime, Stdio(**state["stdio"]), layout, counter)
        container.state = State(state["state"])
        container.log = LogFile.take_up(state["log"], luggage, counter)
        container.console = Console.take_up(state["console"], luggage)
        container.stdin = luggage.unpack(state["stdin"])
        container.outputs = Outputs.take_up(state["outputs"], luggage, container.log)
        container._cgroup = state["cgroup"] and ContainerCgroup(**state["cgroup"])
        container._killed, container._deleted = state["killed"], state["deleted"]
        if state["exit"] is None:
            container.process = reaper.watch(state["pid"])
        else:
            container.exit = ExitRecord(**state["exit"])
            container.process = Process.ended(container.exit.pid, container.exit.exit_code)
            container.exited.set()
        return container

    def _release(self) -> None:
        self.outputs.close()
        self.log.close()
        if self.console:
            self.console.close()
        self.close_stdin()
