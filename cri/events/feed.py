"""One stream of messages to many readers, of which none can delay the writer or another reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from core.errdefs import ResourceExhausted, Unavailable

MAX_PENDING = 8 << 20
"""Bytes that wait for one reader: some thousand events of pods with a few containers. All readers share them."""


class Feed:
    """Messages are dropped only together with their reader, who is told."""

    def __init__(self, max_pending: int = MAX_PENDING) -> None:
        self._max_pending = max_pending
        self._readers: set[_Reader] = set()
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether nobody reads."""
        return not self._readers

    @property
    def pending(self) -> int:
        """Messages that wait for the reader who is farthest behind."""
        return max((reader.pending for reader in tuple(self._readers)), default=0)

    def publish(self, message: bytes) -> None:
        """Queue `message` for every reader; returns at once."""
        for reader in self._readers:
            reader.push(message)

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Every message from the first `__anext__` on, in order.

        Raises ResourceExhausted when the reader fell behind by more than `max_pending` bytes, Unavailable at the end.
        """
        reader = _Reader(self._max_pending)
        if self._closed:
            reader.end(Unavailable("crispd is stopping"))
        self._readers.add(reader)
        try:
            while True:
                yield await reader.pop()
        finally:
            self._readers.discard(reader)

    def close(self) -> None:
        """End all readers, which would keep the server from stopping."""
        self._closed = True
        for reader in self._readers:
            reader.end(Unavailable("crispd is stopping"))


class _Reader:
    def __init__(self, max_pending: int) -> None:
        self._max_pending = max_pending
        self._queue: deque[bytes] = deque()
        self._pending = 0
        self._error: Exception | None = None
        self._wake = asyncio.Event()

    @property
    def pending(self) -> int:
        return len(self._queue)

    def push(self, message: bytes) -> None:
        if self._error:
            return
        self._queue.append(message)
        self._pending += len(message)
        if self._pending > self._max_pending:
            count = len(self._queue)
            self.end(ResourceExhausted(f"{count} events were not read in time and are dropped: list, and read again"))
        self._wake.set()

    def end(self, error: Exception) -> None:
        """What is pending is dropped: whoever reads on must look at everything anyway."""
        self._error = self._error or error
        self._queue.clear()
        self._wake.set()

    async def pop(self) -> bytes:
        await self._wake.wait()
        if self._error:
            raise self._error
        message = self._queue.popleft()
        self._pending -= len(message)
        if not self._queue:
            self._wake.clear()
        return message
