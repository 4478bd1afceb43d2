"""The streams of a container whose shim is not ours: from FIFOs into the log and to whoever attaches.

    <directory>/{stdin,stdout,stderr}   see `fifos`
                io.json                 what a later daemon needs to go on

While no daemon runs the FIFOs fill up, and then the container waits. A daemon that is killed takes the beginning of a
line with it that it has read, and what was in a FIFO goes with the exit of a container that ends meanwhile: the peers'
daemons have no more to offer.
"""

from __future__ import annotations

import asyncio
import os

import msgspec

from core.errdefs import FailedPrecondition
from core.files.atomic import write_atomic
from core.shim.audience import Audience, OnDrop, Outlet
from core.shim.logs import LogFile
from core.shim.stdio import DRAIN, LogSink, Pump, Sink
from core.tasks.fifos import find_fifos, make_fifos, open_reading, open_writing
from core.tasks.tasks import TaskIO

_FILE = "io.json"


class ContainerIO:
    def __init__(self, directory: str, io: TaskIO) -> None:
        """Raises OSError."""
        self._directory = directory
        self.io = io
        self.fifos = find_fifos(directory)
        self._log = LogFile(io.log_path)
        self._audiences: dict[str, Audience] = {}
        self._pumps: list[Pump] = []
        self._stdin = open_writing(self.fifos.stdin) if self.fifos.stdin else -1
        for stream, path in (("stdout", self.fifos.stdout), ("stderr", self.fifos.stderr)):
            if path:
                self._audiences[stream] = Audience()
                self._pumps.append(Pump(open_reading(path), self._sink(stream)))

    @classmethod
    def make(cls, directory: str, io: TaskIO) -> ContainerIO:
        """For a new container. Raises OSError."""
        make_fifos(directory, stdin=io.stdin, stdout=True, stderr=not io.terminal)
        write_atomic(os.path.join(directory, _FILE), msgspec.json.encode(io), durable=False)
        return cls(directory, io)

    @classmethod
    def find(cls, directory: str) -> ContainerIO:
        """For one that runs. Raises OSError, ValueError (what is there makes no sense)."""
        with open(os.path.join(directory, _FILE), "rb") as file:
            found = cls(directory, msgspec.json.decode(file.read(), type=TaskIO))
        for pump in found._pumps:
            pump.take()
        return found

    async def settle(self, timeout: float = DRAIN) -> None:
        """Wait for the end of all output, at most `timeout` seconds; then take what is there."""
        await asyncio.gather(*(pump.drain(timeout) for pump in self._pumps))

    def reopen_log(self) -> None:
        """Raises FailedPrecondition; then the old file is still open."""
        try:
            self._log.reopen()
        except OSError as exc:
            raise FailedPrecondition(f"log {self.io.log_path}: {exc.strerror}") from exc

    def join(self, stream: str, on_drop: OnDrop) -> Outlet | None:
        """Output from now on for one more client; None when there is no such stream."""
        audience = self._audiences.get(stream)
        backlog = os.path.dirname(self.io.log_path) or self._directory
        return audience.join(backlog, on_drop) if audience else None

    def typing(self) -> int:
        """A descriptor of its stdin for one client, the caller's to close; -1 when it has none (any more)."""
        return os.dup(self._stdin) if self._stdin >= 0 else -1

    def close_stdin(self) -> None:
        """Idempotent."""
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def close(self) -> None:
        """Idempotent; the files stay."""
        for pump in self._pumps:
            pump.close()
        self.close_stdin()
        self._log.close()

    def _sink(self, stream: str) -> Sink:
        to_log, to_clients = LogSink(self._log, stream), self._audiences[stream].feed

        def sink(data: bytes) -> None:
            to_log(data)
            to_clients(data)

        return sink
