"""Numbered channels in one WebSocket, Kubernetes' `channel.k8s.io`: each message begins with its channel.

    binary   one byte: 0, 1, …          then the bytes
    base64   one digit: "0", "1", …     then the bytes in base64, as text
    v5       binary, and 255 followed by the byte of a channel: the sender has no more for it

Messages are not held but handed on piece by piece, except those that are of use only as a whole.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from core.errdefs import Cancelled
from cri.streaming.inbox import Backlog, Inbox
from cri.streaming.websocket.connection import BAD_DATA, PROTOCOL_ERROR, TOO_BIG, Piece, Violation, WebSocket

MAX_TEXT = 1 << 20
"""Bytes of a base64 message, which is decoded as a whole."""
V5 = "v5.channel.k8s.io"
_CLOSE = 255


class Source:
    """What the client sends on one channel."""

    def __init__(self, backlog: Backlog) -> None:
        self.inbox = Inbox(backlog)
        self.lost = False

    async def read(self, size: int) -> bytes:
        """At least one byte and at most `size`; b"" at the end. Raises Cancelled when the client is gone."""
        data = await self.inbox.read(size)
        if not data and self.lost:
            raise Cancelled("the client is gone")
        return data


class Sink:
    """What the client gets on one channel."""

    def __init__(self, socket: WebSocket, channel: int, *, text: bool) -> None:
        self._socket = socket
        self._channel = channel
        self._text = text

    async def write(self, data: bytes) -> None:
        """Raises Cancelled when the client is gone."""
        if self._text:
            self._socket.send(b"%d" % self._channel + base64.b64encode(data), text=True)
        else:
            self._socket.send(bytes([self._channel]) + data)
        await self._socket.drain()

    async def close(self) -> None:
        """Nothing: the channels of a server end with the connection, for clients know no other end of them."""


class Channels:
    """All channels of one connection. `run` moves what comes in."""

    def __init__(self, socket: WebSocket, subprotocol: str, readable: Iterable[int]) -> None:
        """Data on channels that are not `readable` is dropped."""
        self._socket = socket
        self._text = "base64" in subprotocol
        self._closes = subprotocol == V5
        self._backlog = Backlog()
        self._sources = {channel: Source(self._backlog) for channel in readable}
        self._channel: int | None = None
        """Of the message that is coming in, once its first byte is there."""
        self._held = b""
        """Of a message that is of use only as a whole."""

    def source(self, channel: int) -> Source:
        return self._sources[channel]

    def sink(self, channel: int) -> Sink:
        return Sink(self._socket, channel, text=self._text)

    async def run(self) -> None:
        """Receive until the client is gone; all sources are at their ends then."""
        try:
            async for piece in self._socket.pieces():
                self._received(piece)
                await self._backlog.wait_room(self._socket.gone)
        except Violation as exc:
            self._socket.fail(exc)
        except Cancelled:
            pass  # between two messages
        finally:
            for source in self._sources.values():
                source.lost = True
                source.inbox.end()

    async def close(self, linger: float) -> None:
        await self._socket.close(linger)

    def _received(self, piece: Piece) -> None:
        data = piece.data
        if self._channel is None and data:
            self._channel, data = data[0] - ord("0") if self._text else data[0], data[1:]
        if self._text or (self._closes and self._channel == _CLOSE):
            self._held += data
            if len(self._held) > MAX_TEXT:
                raise Violation(TOO_BIG, f"a message of this subprotocol has at most {MAX_TEXT} bytes")
        elif data:
            self._put(data)
        if piece.ends:
            self._end_message()

    def _end_message(self) -> None:
        held, self._held = self._held, b""
        if self._closes and self._channel == _CLOSE:
            if len(held) != 1:
                raise Violation(PROTOCOL_ERROR, "255 is followed by the byte of one channel")
            if source := self._sources.get(held[0]):
                source.inbox.end()
        elif held:
            try:
                self._put(base64.b64decode(held, validate=True))
            except binascii.Error as exc:
                raise Violation(BAD_DATA, "the message is not base64") from exc
        self._channel = None

    def _put(self, data: bytes) -> None:
        source = self._sources.get(self._channel) if self._channel is not None else None
        if source:
            source.inbox.put(data)
