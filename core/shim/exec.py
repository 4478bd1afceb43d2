"""A process beside a container's first one."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence

from core.shim.console import Console
from core.shim.container import Container, Stdio
from core.shim.reaper import Process
from core.shim.record import ExitRecord
from core.shim.stdio import FifoPump, Pump, open_fifo, open_stdin, pipe


class Exec:
    """An exec of the shim v2 contract: added by Exec, run by Start, told by Wait, forgotten by Delete."""

    def __init__(self, container: Container, exec_id: str, process: bytes, stdio: Stdio) -> None:
        self.container = container
        self.id = exec_id
        self.stdio = stdio
        self.process: Process | None = None
        self.exit: ExitRecord | None = None
        self.exited = asyncio.Event()
        self.console: Console | None = None
        self._spec = process
        self._stdin = -1
        self._pumps: list[Pump | FifoPump] = []

    @property
    def pid(self) -> int:
        """0 before it is started."""
        return self.process.pid if self.process else 0

    async def start(self) -> None:
        """Run it. Raises FailedPrecondition (container not running), Internal with the OCI runtime's words."""
        self.container.require_running()
        if self.stdio.terminal:
            async with Console.receiving(self.container.bundle) as console:
                self.process = await self._run((), console.socket_path)
                self.console = await console.wait_received()
            self._pumps.append(self.console.attach(self.stdio.stdin, self.stdio.stdout, lambda _: None))
            return
        with contextlib.ExitStack() as ours:
            stdin, self._stdin = open_stdin(self.stdio.stdin)
            ours.callback(os.close, stdin)
            outputs = [self._output(ours, path) for path in (self.stdio.stdout, self.stdio.stderr)]
            self.process = await self._run([stdin, *outputs])

    def _output(self, ours: contextlib.ExitStack, path: str) -> int:
        """What nobody wants is read and dropped: /dev/null is not for execs, see no_input."""
        if path:
            write = open_fifo(path)
        else:
            read, write = pipe()
            self._pumps.append(Pump(read, lambda _: None))
        ours.callback(os.close, write)
        return write

    async def _run(self, stdio: Sequence[int], console: str = "") -> Process:
        return await self.container.runtime.exec(
            self.container.id, f"exec-{self.id}", self._spec, stdio, console
        )

    async def wait_exit(self) -> None:
        """Watch it to its end."""
        assert self.process is not None
        code = await self.process.exit
        await asyncio.gather(*(pump.drain() for pump in self._pumps))
        self.exit = ExitRecord.now(self.pid, code)
        self.exited.set()

    def kill(self, signum: int) -> None:
        """Success when it has exited, or was not started."""
        if self.process:
            self.process.kill(signum)

    def close_stdin(self) -> None:
        """As Container's."""
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def close(self) -> None:
        self.close_stdin()
        for pump in self._pumps:
            pump.close()
        if self.console:
            self.console.close()
