"""What has come for a stream and nobody has read yet, bounded over all streams of a connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

LIMIT = 1 << 20
"""Bytes that a connection holds for its readers before no more is read from it: the peer then waits in TCP."""

LOOK = 1.0
"""Seconds between two looks whether a peer that is held back is still there."""


class Backlog:
    """How many bytes the inboxes of one connection hold."""

    def __init__(self) -> None:
        self._size = 0
        self._room = asyncio.Event()
        self._room.set()

    def add(self, size: int) -> None:
        self._size += size
        if self._size >= LIMIT:
            self._room.clear()

    def take(self, size: int) -> None:
        self._size -= size
        if self._size < LIMIT:
            self._room.set()

    async def wait_room(self, gone: Callable[[], bool]) -> None:
        """Return when less than LIMIT bytes are held, or `gone` says that the peer is.

        Who does not read cannot see the end of the connection, and the process that does not read may be what should
        end with it: so we look.
        """
        while not self._room.is_set() and not gone():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._room.wait()


class Inbox:
    """The bytes of one stream, in order; one reader at a time (`core.tasks.streams.ByteSource`)."""

    def __init__(self, backlog: Backlog, on_taken: Callable[[int], None] = lambda _: None) -> None:
        """`on_taken` is called with the number of bytes that have just left."""
        self._backlog = backlog
        self._on_taken = on_taken
        self._chunks: deque[bytes] = deque()
        self._ended = False
        self._discarding = False
        self._ready = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Add `data`; nothing after `end`."""
        if self._ended:
            return
        if self._discarding:
            self._on_taken(len(data))
            return
        self._backlog.add(len(data))
        self._chunks.append(data)
        self._ready.set()

    def end(self) -> None:
        """Nothing more comes; what is here can still be read."""
        self._ended = True
        self._ready.set()

    def discard(self) -> None:
        """Nobody will read any more: drop what is here and what comes, so that the other streams go on."""
        self._discarding = True
        while self._chunks:
            self._taken(len(self._chunks.popleft()))

    async def read(self, size: int) -> bytes:
        """At least one byte and at most `size`; b"" at the end."""
        while not self._chunks:
            if self._ended:
                return b""
            self._ready.clear()
            await self._ready.wait()
        data = self._chunks.popleft()
        if len(data) > size:
            self._chunks.appendleft(data[size:])
            data = data[:size]
        self._taken(len(data))
        return data

    def _taken(self, size: int) -> None:
        self._backlog.take(size)
        self._on_taken(size)
