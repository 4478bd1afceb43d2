"""A WebSocket on a wire, after its handshake: pieces of messages in, messages out."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

from core.log import get_logger
from cri.streaming.flood import IdleFrames
from cri.streaming.wire import LINGER, SHORT_LINGER, Wire

log = get_logger(__name__)

MAX_MESSAGE = 32 << 20
"""Bytes of one message, all its fragments together; what the peers' library takes. Clients send 32 KiB."""

NORMAL, GOING_AWAY, PROTOCOL_ERROR, BAD_DATA, POLICY, TOO_BIG = 1000, 1001, 1002, 1007, 1008, 1009
"""Close codes, RFC 6455 section 7.4.1."""


class Violation(Exception):
    """The client may not do that; the connection ends with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    data: bytes
    ends: bool
    """The message ends with this piece."""


class WebSocket:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._protocol = Connection(ConnectionType.SERVER)
        self._message = 0
        """Bytes of the message that is coming in."""
        self._linger = LINGER
        self._idle_frames = IdleFrames(time.monotonic)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The messages of the client as they come, until it closes or is gone. Raises Violation."""
        while self._protocol.state is ConnectionState.OPEN and (data := await self._wire.read()):
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                if isinstance(event, CloseConnection):
                    self._closed(event)
                    return
                if piece := self._received(event):
                    yield piece
            await self._wire.drain()  # pongs that a client does not take do not pile up

    def gone(self) -> bool:
        """Whether the client has hung up, even while nothing is read from it."""
        return self._wire.gone()

    def send(self, data: bytes, *, text: bool = False) -> None:
        """Queue a message; it is dropped when the connection is closed."""
        if self._protocol.state is ConnectionState.OPEN:
            event = TextMessage(data=data.decode()) if text else BytesMessage(data=data)
            self._wire.write([self._protocol.send(event)])

    async def drain(self) -> None:
        """Wait until the client has taken most of what was sent. Raises Cancelled when it is gone."""
        await self._wire.drain()

    def fail(self, violation: Violation) -> None:
        """Tell the client what it must not do, as the last word."""
        log.info("client breaks WebSocket", reason=violation)
        self._linger = SHORT_LINGER
        self.close_with(violation.code, str(violation))

    def close_with(self, code: int, reason: str = "") -> None:
        """Say the last word, or answer the client's. Idempotent."""
        if self._protocol.state in {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}:
            self._wire.write([self._protocol.send(CloseConnection(code=code, reason=reason))])

    async def close(self, linger: float) -> None:
        """Say goodbye, if that is still to be done, and hang up."""
        self.close_with(NORMAL)
        await self._wire.close(min(linger, self._linger))

    def _closed(self, event: CloseConnection) -> None:
        """The client has said its last word, or something that is none: then the code is that of the fault."""
        if self._protocol.state is ConnectionState.OPEN:
            raise Violation(event.code, event.reason or "")
        self.close_with(event.code)

    def _received(self, event: Event) -> Piece | None:
        if isinstance(event, Ping):
            self._idle_frame()
            self._wire.write([self._protocol.send(event.response())])
        if not isinstance(event, TextMessage | BytesMessage):
            return None
        data = event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
        if not data:
            self._idle_frame()
        self._message += len(data)
        if self._message > MAX_MESSAGE:
            raise Violation(TOO_BIG, f"a message has at most {MAX_MESSAGE} bytes")
        if event.message_finished:
            self._message = 0
        return Piece(data=data, ends=event.message_finished)

    def _idle_frame(self) -> None:
        if self._idle_frames.flood():
            raise Violation(POLICY, "too many frames that carry nothing")
