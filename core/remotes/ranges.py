"""A large blob in several ranges at once, handed on in order.

    ── handed on ──┤ stream ├──┤ helper ├──┤ helper ├──┤ helper ├── not asked for yet ──

Many registries, and the long ways to them, give each connection only so much. So while one *stream* reads what is
handed on next, *helpers* read the segments behind it into memory. They only help: what a helper does not bring, since
its host knows no ranges or wants fewer connections, the stream reads itself. A stream that is fast already gets none.

Since the bytes come in order, an ingest stays what it was: the first bytes of a blob, with a hash that runs along. A
restart loses what helpers hold and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from core.errdefs import CrispError
from core.log import get_logger

log = get_logger(__name__)

MAX_HELPERS = 8  # of all pulls together: with their segments, 32 MiB of memory
MAX_FAILED = 2  # helpers, until a host is believed to want none
MAX_STRETCH = 16  # segments that a fast stream reads until it is looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """How blobs are split; sizes in bytes."""

    at_once: int = 4
    """Ranges of one blob, the stream's included; 1 for none but the stream. Browsers take 6 connections."""
    large: int = 16 << 20
    """Left to read, from which on helpers are worth their connections."""
    segment: int = 4 << 20
    """Read by one helper: large enough that asking costs little, and in memory until it is its turn."""
    fast: int = 64 << 20
    """Per second: a stream that brings this waits for our disk and not for its registry."""


Read = Callable[[int, int], AsyncGenerator[bytes, None]]
"""Bytes from start to end (exclusive), or further."""


class Ranges:
    """One blob from one host. `stream` goes on past the end where a host knows no ranges; `help_` fails then."""

    def __init__(self, stream: Read, help_: Read, splitting: Splitting, pool: asyncio.Semaphore) -> None:
        """`pool` has what helpers there may be, of all blobs."""
        self._stream = stream
        self._help = help_
        self._splitting = splitting
        self._pool = pool
        self._ahead: deque[_Helper] = deque()
        self._failed = 0
        self._is_slow = False
        self._stretch = 1

    async def read(self, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset` to `size`, in order. Close it with `aclosing`. Raises what `stream` raises."""
        try:
            while offset < size:
                await self._look_ahead(offset, size)
                async with aclosing(self._next(offset, size)) as body:
                    async for data in body:
                        offset += len(data)
                        yield data
        finally:
            while self._ahead:
                await self._dismiss(self._ahead.popleft())

    def _next(self, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        if self._ahead and self._ahead[0].start == offset:
            return self._helped(self._ahead.popleft())
        return self._streamed(offset, self._ahead[0].start if self._ahead else self._end(offset, size))

    def _end(self, offset: int, size: int) -> int:
        """How far a stream with no helper ahead goes before it is looked at again."""
        if self._splitting.at_once < 2 or size - offset < self._splitting.large:
            return size
        return min(size, offset + self._splitting.segment * self._stretch)

    async def _streamed(self, offset: int, end: int) -> AsyncGenerator[bytes, None]:
        """By ourselves, with an eye on how much time that waits for the host."""
        begun, waited, asked = offset, 0.0, time.monotonic()
        async with aclosing(self._stream(offset, end)) as body:
            async for data in body:
                waited += time.monotonic() - asked
                offset += len(data)
                yield data
                asked = time.monotonic()
        self._is_slow = offset - begun < self._splitting.fast * waited
        self._stretch = 1 if self._is_slow else min(2 * self._stretch, MAX_STRETCH)

    async def _helped(self, helper: _Helper) -> AsyncGenerator[bytes, None]:
        try:
            async for data in helper.read():
                yield data
        finally:
            self._failed += helper.has_failed
            await self._dismiss(helper)

    async def _look_ahead(self, offset: int, size: int) -> None:
        """Send helpers to the segments behind the one at `offset`, and forget those whose work is done already."""
        while self._ahead and self._ahead[0].start < offset:
            await self._dismiss(self._ahead.popleft())
        if not self._is_slow or self._failed >= MAX_FAILED:
            return
        start = self._ahead[-1].end if self._ahead else offset + self._splitting.segment
        while start < size and len(self._ahead) < self._splitting.at_once - 1 and not self._pool.locked():
            await self._pool.acquire()
            end = min(size, start + self._splitting.segment)
            self._ahead.append(_Helper(self._help(start, end), start, end))
            start = end

    async def _dismiss(self, helper: _Helper) -> None:
        await helper.dismiss()
        self._pool.release()


class _Helper:
    """Reads one segment into memory."""

    def __init__(self, body: AsyncGenerator[bytes, None], start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.has_failed = False
        self._pieces: list[bytes] = []
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._fill(body))

    async def read(self) -> AsyncGenerator[bytes, None]:
        """What has come, and then what comes: less than the segment if it fails."""
        while self._pieces or not self._task.done():
            pieces, self._pieces = self._pieces, []
            if pieces:
                yield b"".join(pieces)
            else:
                self._arrived.clear()
                await self._arrived.wait()

    async def dismiss(self) -> None:
        """Idempotent."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _fill(self, body: AsyncGenerator[bytes, None]) -> None:
        try:
            async with aclosing(body):
                async for data in body:
                    self._pieces.append(data)
                    self._arrived.set()
        except CrispError as exc:
            self.has_failed = True
            log.info("range is read again", start=self.start, reason=exc)
        finally:
            self._arrived.set()
