"""A connection after its upgrade: bytes both ways, whether on TCP or inside of a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Protocol

from core.errdefs import Cancelled

READ = 64 << 10
"""Bytes that are read at once: two frames of the usual client."""
LINGER = 5.0
"""Seconds for the peer to hang up after we have said all. A close with unread bytes would be a reset (RFC 1122,
4.2.2.13), and a reset may overtake the last bytes that we sent."""

SHORT_LINGER = 0.5
"""The same for a peer that has broken the protocol, and may be flooding us."""

_HUNG_UP = (7, 8)
"""TCP_CLOSE and TCP_CLOSE_WAIT, include/net/tcp_states.h: no client of ours closes one direction only."""


class Wire(Protocol):
    async def read(self) -> bytes:
        """Some bytes; b"" when the peer is gone, in whatever way."""

    def gone(self) -> bool:
        """Whether the peer has hung up, even while nothing is read from it."""

    def write(self, buffers: Sequence[bytes]) -> None:
        """Queue the buffers, in order; they are dropped when the peer is gone."""

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was queued. Raises Cancelled when it is gone."""

    async def close(self, linger: float) -> None:
        """Send what is queued and hang up; waits for the peer `linger` seconds at most."""


class SocketWire:
    """A Wire on a stream socket. `first` are bytes that came with the request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b"") -> None:
        self._reader = reader
        self._writer = writer
        self._first = first
        self._clock = asyncio.get_running_loop().time
        self.active = self._clock()
        """When something moved last, on the loop's clock."""

    async def read(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        try:
            data = await self._reader.read(READ)
        except OSError:
            return b""
        self.active = self._clock()
        return data

    def gone(self) -> bool:
        if self._writer.is_closing():
            return True
        state = self._writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state in _HUNG_UP

    def write(self, buffers: Sequence[bytes]) -> None:
        self.active = self._clock()
        if not self._writer.is_closing():
            self._writer.writelines(buffers)

    async def drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError as exc:
            raise Cancelled("the client is gone") from exc

    async def close(self, linger: float) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(linger):
                    await self._say_last_words()
            await hang_up(self._writer)
        finally:
            self._writer.transport.abort()  # when we are cancelled

    async def _say_last_words(self) -> None:
        await self._writer.drain()
        if self._writer.can_write_eof():
            self._writer.write_eof()
            while await self._reader.read(READ):
                pass


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Send what is queued and close; what the peer has not taken within LINGER is lost."""
    writer.close()
    try:
        async with asyncio.timeout(LINGER):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
