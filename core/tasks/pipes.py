"""Ends of pipes and terminals, as the sources and sinks of `core.tasks.streams`.

The descriptors are non-blocking. Each call tries first and waits then: under load there is no waiting.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from core.errdefs import CrispError, FailedPrecondition

LAST = 1 << 20
"""Bytes read of an expired source: more than a pipe or terminal holds, little of what an endless writer writes."""
UNLIMITED = 1 << 62

Watch = Callable[..., None]
Unwatch = Callable[[int], object]


class Readiness:
    """Waits for a descriptor that may be closed meanwhile: then nothing of it stays registered."""

    def __init__(self, fd: int, watch: Watch, unwatch: Unwatch) -> None:
        """`watch` and `unwatch` are add_reader and remove_reader of the loop, or those of writers."""
        self._fd = fd
        self._watch = watch
        self._unwatch = unwatch
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Until it is ready, or `wake` is called."""
        assert self._waiter is None, "one reader, one writer"
        self._waiter = asyncio.get_running_loop().create_future()
        self._watch(self._fd, self.wake)
        try:
            await self._waiter
        finally:
            self.wake()

    def wake(self) -> None:
        """To be called before the descriptor is closed. Idempotent."""
        if self._waiter is not None:
            self._unwatch(self._fd)
            if not self._waiter.done():
                self._waiter.set_result(None)
            self._waiter = None


class PipeSource:
    """A `ByteSource`. The descriptor is its owner's to close, after `end`."""

    def __init__(self, fd: int, failure: Callable[[], CrispError | None]) -> None:
        """`failure` is asked at the end of the pipe, whether that is the end of the stream."""
        loop = asyncio.get_running_loop()
        self._fd = fd
        self._failure = failure
        self._ready = Readiness(fd, loop.add_reader, loop.remove_reader)
        self._left = UNLIMITED
        """Bytes that may still be read."""
        self._ended = False

    async def read(self, size: int) -> bytes:
        while not self._ended:
            try:
                data = os.read(self._fd, min(size, self._left))
            except BlockingIOError:
                if self._expired:
                    break
                await self._ready.wait()
                continue
            except OSError:  # EIO: nobody has the other side of the terminal any more
                break
            if not data:
                break
            self._left -= len(data) if self._expired else 0
            return data
        self.end()
        if error := self._failure():
            raise error
        return b""

    @property
    def _expired(self) -> bool:
        return self._left < UNLIMITED

    def expire(self) -> None:
        """End after what is there by now, though somebody could still write."""
        self._left = min(self._left, LAST)
        self._ready.wake()

    def end(self) -> None:
        """Read no more. Idempotent."""
        self._ended = True
        self._ready.wake()


class PipeSink:
    """A `ByteSink`. `on_close` is called once, when the client or the session closes it: nothing waits then."""

    def __init__(self, fd: int, on_close: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._fd = fd
        self._on_close = on_close
        self._ready = Readiness(fd, loop.add_writer, loop.remove_writer)
        self._closed = False

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if self._closed:
                raise FailedPrecondition("stdin is closed")
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                await self._ready.wait()
            except OSError as exc:  # EPIPE; EIO of a terminal
                raise FailedPrecondition("stdin: the process has closed it or has ended") from exc

    async def close(self) -> None:
        self.end()

    def end(self) -> None:
        """Idempotent."""
        if not self._closed:
            self._closed = True
            self._ready.wake()
            self._on_close()
