"""Streams that a shim hands out: the clients of `core/shim/streams.py`, see crisp_shim.proto for what is said."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from typing import Self

from core.api.crisp_shim_pb2 import OpenStreams, StreamsEvent, StreamsOpened
from core.errdefs import CrispError, FailedPrecondition, Unavailable
from core.tasks.opening import MAX_EVENT, Descriptors, ask, connect
from core.tasks.pipes import PipeSink, PipeSource
from core.tasks.streams import ExecStreams, Streams
from core.ttrpc.status import from_status

DRAIN = 10.0
"""Seconds that output may still come after an exec has ended, from children that hold its pipe (hazards 3.39)."""
MAX_WINDOW = 0xFFFF
"""Columns and rows that fit struct winsize, tty_ioctl(4)."""


class ShimStreams:
    """`Streams`: the connection to the shim, and the descriptors that came over it."""

    def __init__(
        self,
        connection: socket.socket,
        request: OpenStreams,
        opened: StreamsOpened,
        fds: Descriptors,
        drain: float = DRAIN,
    ) -> None:
        """Takes over the connection and `fds`: see `open`."""
        self._connection = connection
        self._fds = fds
        self._drain = drain
        self._loop = asyncio.get_running_loop()
        self._failure: CrispError | None = None
        self._exit_code: int | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._closed = False
        self._shared_stdin = opened.shared_stdin
        for fd in fds.values():
            os.set_blocking(fd, False)
        terminal = self._fds.get(StreamsOpened.TERMINAL, -1)
        output = self._fds.get(StreamsOpened.STDOUT, terminal if request.exec else -1)
        self.stdin = self._sink(self._fds.get(StreamsOpened.STDIN, terminal)) if opened.stdin else None
        self.stdout = self._source(output) if request.stdout else None
        self.stderr = self._source(self._fds[StreamsOpened.STDERR]) if StreamsOpened.STDERR in self._fds else None
        self._loop.add_reader(connection, self._take_events)

    @classmethod
    async def open(cls, path: str, request: OpenStreams, process: bytes = b"", *, drain: float = DRAIN) -> Self:
        """Streams from the shim at socket `path`. Raises what `connect` and `ask` raise."""
        connection = await connect(path)
        try:
            opened, fds = await ask(connection, request, process)
        except BaseException:
            connection.close()
            raise
        return cls(connection, request, opened, fds, drain)

    async def resize(self, width: int, height: int) -> None:
        terminal = self._fds.get(StreamsOpened.TERMINAL, -1)
        if terminal >= 0:
            size = struct.pack("HHHH", *(min(max(side, 0), MAX_WINDOW) for side in (height, width)), 0, 0)
            with contextlib.suppress(OSError):  # EIO: its processes are gone
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._end()
        self._end_sources()
        if self.stdin:
            self.stdin.end()
        if self._expiry:
            self._expiry.cancel()
        self._connection.close()
        while self._fds:
            os.close(self._fds.popitem()[1])

    def _sink(self, fd: int) -> PipeSink:
        return PipeSink(fd, self._stdin_closed)

    def _source(self, fd: int) -> PipeSource:
        return PipeSource(fd, self._failure_so_far)

    def _sources(self) -> list[PipeSource]:
        return [source for source in (self.stdout, self.stderr) if source]

    def _end_sources(self) -> None:
        for source in self._sources():
            source.end()

    def _stdin_closed(self) -> None:
        """Half-close, where that is possible."""
        if self._shared_stdin:
            self._end_sources()
        elif (fd := self._fds.pop(StreamsOpened.STDIN, -1)) >= 0:
            os.close(fd)

    def _failure_so_far(self) -> CrispError | None:
        if not self._over.is_set():
            self._take_events()  # the shim tells why before it ends a pipe
        return self._failure

    def _take_events(self) -> None:
        while not self._over.is_set():
            try:
                data = self._connection.recv(MAX_EVENT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self._event(data)

    def _event(self, data: bytes) -> None:
        event = StreamsEvent.FromString(data)
        if event.HasField("exit"):
            self._exit_code = event.exit.code
            self._expiry = self._loop.call_later(self._drain, self._expire)
        elif event.HasField("error"):
            self._failure = from_status(event.error)
        else:
            self._hung_up()
        self._end()

    def _hung_up(self) -> None:
        """The shim has closed the connection: the end of an attach."""

    def _expire(self) -> None:
        for source in self._sources():
            source.expire()

    def _end(self) -> None:
        if not self._over.is_set():
            self._loop.remove_reader(self._connection)
            self._over.set()


class ShimExec(ShimStreams):
    """`ExecStreams`."""

    async def wait(self) -> int:
        await self._over.wait()
        if self._exit_code is not None:
            return self._exit_code
        raise self._failure or FailedPrecondition("exec: its streams were closed before it ended")

    async def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def _hung_up(self) -> None:
        self._failure = Unavailable("the shim went away, and the exec with it")


_streams_fit: type[Streams] = ShimStreams
_execs_fit: type[ExecStreams] = ShimExec
