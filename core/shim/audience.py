"""Who watches a stream of a container: any number of clients, of which none can hold it or the others up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from core.errdefs import CrispError, ResourceExhausted
from core.shim.backlog import Backlog
from core.shim.stdio import PIPE_SIZE, pipe

OnDrop = Callable[[CrispError], None]


class Audience:
    """The clients of one stream, from when each joined. They see what the log gets, after it."""

    def __init__(self) -> None:
        self._outlets: list[Outlet] = []
        self._ended = False

    def feed(self, data: bytes) -> None:
        """A sink, see `core.shim.stdio`."""
        self._ended = not data
        for outlet in tuple(self._outlets):
            outlet.feed(data)

    def join(self, directory: str, on_drop: OnDrop) -> Outlet:
        """A new client, whose backlog lies in `directory`; both ends of its pipe are the caller's to close.

        Raises OSError.
        """
        outlet = Outlet(directory, on_drop)
        self._outlets.append(outlet)
        outlet.finished.add_done_callback(lambda _: self._outlets.remove(outlet))
        if self._ended:
            outlet.feed(b"")
        return outlet


class Outlet:
    """A pipe to one client. What does not fit goes to its backlog; a client that lets that fill up is dropped.

    `on_drop` is called before the pipe ends, so that who reads the end knows that it is not the stream's.
    """

    def __init__(self, directory: str, on_drop: OnDrop) -> None:
        self.read_end, self._fd = pipe()
        os.set_blocking(self._fd, False)
        self._directory = directory
        self._on_drop = on_drop
        self._loop = asyncio.get_running_loop()
        self._backlog: Backlog | None = None
        self._ending = False
        self.finished: asyncio.Future[None] = self._loop.create_future()
        """Done when everything up to the stream's end is in the pipe, or the client has left or was dropped."""

    def feed(self, data: bytes) -> None:
        """Pass `data` on, b"" at the end of the stream."""
        if self.finished.done():
            return
        self._ending = not data
        if self._backlog is not None:
            self._keep(data)
        elif data:
            sent = self._write(data)
            if sent < len(data):
                self._keep(memoryview(data)[sent:])
        else:
            self.close()

    def close(self) -> None:
        """End the pipe, whatever waits. Idempotent."""
        if self.finished.done():
            return
        if self._backlog is not None:
            self._loop.remove_writer(self._fd)
            self._backlog.close()
        os.close(self._fd)
        self.finished.set_result(None)

    def close_read_end(self) -> None:
        """Once the client has it, or will not. Idempotent."""
        if self.read_end >= 0:
            os.close(self.read_end)
            self.read_end = -1

    def _write(self, data: bytes) -> int:
        """How much of `data` is done with."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            self.close()
            return len(data)

    def _keep(self, data: bytes | memoryview) -> None:
        try:
            if self._backlog is None:
                self._backlog = Backlog(self._directory)
                self._loop.add_writer(self._fd, self._catch_up)
            self._backlog.append(data)
        except (OSError, ResourceExhausted) as exc:
            self._on_drop(ResourceExhausted(f"attach reads too slowly, see the log for the rest: {exc}"))
            self.close()

    def _catch_up(self) -> None:
        assert self._backlog is not None
        sent = self._write(self._backlog.peek(PIPE_SIZE))
        if self.finished.done():
            return
        self._backlog.skip(sent)
        if self._backlog:
            return
        self._loop.remove_writer(self._fd)
        self._backlog.close()
        self._backlog = None
        if self._ending:
            self.close()
