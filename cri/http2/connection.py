"""The server's end of an HTTP/2 connection (RFC 9113), without a socket: bytes come in, events and bytes go out.

It does what gRPC needs and no more: no push, no priorities, no dynamic table for what it sends. Every number that a
client can choose has a limit, for whoever may open the socket can also send nonsense.
"""

from __future__ import annotations

from collections.abc import Callable

from cri.http2.events import Event, Received, Requested, Reset, Sent
from cri.http2.frames import (
    MAX_FRAME,
    PREFACE,
    SETTING,
    WORD,
    ConnectionFailed,
    Error,
    Flag,
    FrameReader,
    Setting,
    Type,
    frame,
    go_away,
    rst_stream,
    settings,
    unpadded,
    window_update,
)
from cri.http2.headers import MAX_HEADERS, Block, HeaderReader
from cri.http2.stream import MAX_WINDOW, WINDOW, Stream

MAX_STREAMS = 10_000
"""Of one connection at a time: a kubelet and its probes on a full node have some hundreds; each costs a few KiB."""
MAX_RESETS = 1000
"""Streams that a client may reset beyond those that it let us answer; each costs us work and it nothing (rapid reset,
CVE-2023-44487)."""
CONNECTION_WINDOW = 16 << 20
"""Bytes that may be on their way on all streams together: a message of the greatest size."""
FIRST_WINDOW = 65_535
FIRST_MAX_FRAME = 16_384
_SETTINGS = {
    Setting.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
    Setting.INITIAL_WINDOW_SIZE: WINDOW,
    Setting.MAX_FRAME_SIZE: MAX_FRAME,
    Setting.MAX_HEADER_LIST_SIZE: MAX_HEADERS,
}


class Connection:
    """One connection. After `receive` and after each call that sends, `take` has what must be written."""

    def __init__(self) -> None:
        self._preface = PREFACE  # what of it has not come yet
        self._frames = FrameReader()
        self._headers = HeaderReader()
        self._streams: dict[int, Stream] = {}
        self._waiting: dict[int, Stream] = {}
        """Those that have something to send and no window for it, in their order."""
        self._last_id = 0
        self._send_window = FIRST_WINDOW
        self._initial_window = FIRST_WINDOW
        self._max_frame = FIRST_MAX_FRAME
        self._room = CONNECTION_WINDOW
        self._resets = 0
        self._leaving = False
        self._events: list[Event] = []
        self._out = [settings(_SETTINGS), window_update(0, CONNECTION_WINDOW - FIRST_WINDOW)]
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            Type.DATA: self._on_data,
            Type.HEADERS: self._on_headers,
            Type.RST_STREAM: self._on_reset,
            Type.SETTINGS: self._on_settings,
            Type.PUSH_PROMISE: self._on_push,
            Type.PING: self._on_ping,
            Type.WINDOW_UPDATE: self._on_window_update,
            Type.CONTINUATION: self._on_continuation,
        }

    def take(self) -> bytes:
        """What is to be written; b"" when nothing is."""
        out, self._out = b"".join(self._out), []
        return out

    def receive(self, data: bytes) -> list[Event]:
        """What the client has done by sending `data`. Raises ConnectionFailed; `take` has the farewell then."""
        try:
            for kind, flags, stream_id, payload in self._frames.feed(self._begin(data)):
                if self._headers.is_open and kind != Type.CONTINUATION:
                    raise ConnectionFailed(Error.PROTOCOL_ERROR, "a header block is broken off")
                if handle := self._handlers.get(kind):  # PRIORITY, GOAWAY and unknown ones are nothing to us
                    handle(flags, stream_id, payload)
        except ConnectionFailed as exc:
            self._out.append(go_away(self._last_id, exc.code))
            raise
        events, self._events = self._events, []
        return events

    def respond(self, stream_id: int, block: bytes) -> None:
        """Send the response's headers, a header block. Here and below: nothing when the stream is no more."""
        if stream_id in self._streams:
            self._out.append(frame(Type.HEADERS, Flag.END_HEADERS, stream_id, block))

    def send(self, stream_id: int, data: bytes) -> int:
        """Send a part of the body; how many bytes wait for the client's windows. `Sent` tells when none do any more."""
        if stream := self._streams.get(stream_id):
            stream.put(data)
            self._flush(stream)
            return stream.unsent
        return 0

    def end(self, stream_id: int, block: bytes) -> None:
        """End the response with the trailers in `block`, when all of its body is sent. Once."""
        if stream := self._streams.get(stream_id):
            stream.finish(block)
            self._flush(stream)

    def consumed(self, stream_id: int, size: int) -> None:
        """`size` bytes of a request were taken: the client may send as many more."""
        stream = self._streams.get(stream_id)
        if stream and (room := stream.consumed(size)):
            self._out.append(window_update(stream_id, room))

    def leave(self) -> None:
        """Take no new requests, and tell the client so."""
        self._leaving = True
        self._out.append(go_away(self._last_id, Error.NO_ERROR))

    def _begin(self, data: bytes) -> bytes:
        """`data` without the preface. Raises ConnectionFailed."""
        expected = self._preface[: len(data)]
        if not data.startswith(expected):
            raise ConnectionFailed(Error.PROTOCOL_ERROR, "this is not HTTP/2")
        self._preface = self._preface[len(expected) :]
        return data[len(expected) :]

    def _flush(self, stream: Stream) -> None:
        out, used = stream.take(self._send_window, self._max_frame)
        self._send_window -= used
        if out:
            self._out.append(out)
        if stream.waits:
            self._waiting[stream.id] = stream
            return
        if self._waiting.pop(stream.id, None):
            self._events.append(Sent(stream.id))
        if stream.answered:
            del self._streams[stream.id]
            self._resets = max(0, self._resets - 1)

    def _flush_waiting(self) -> None:
        for stream in list(self._waiting.values()):
            self._flush(stream)

    def _require_opened(self, stream_id: int) -> None:
        if not 0 < stream_id <= self._last_id:
            raise ConnectionFailed(Error.PROTOCOL_ERROR, f"stream {stream_id} was never opened")

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._require_opened(stream_id)
        self._room -= len(payload)
        if self._room < 0:
            raise ConnectionFailed(Error.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if self._room < CONNECTION_WINDOW // 2:  # how much may wait is for the windows of the streams to say
            self._out.append(window_update(0, CONNECTION_WINDOW - self._room))
            self._room = CONNECTION_WINDOW
        if stream := self._streams.get(stream_id):  # else it was answered before the client knew
            data = unpadded(flags & ~Flag.PRIORITY, payload)
            stream.received(len(payload), ended=bool(flags & Flag.END_STREAM))
            self.consumed(stream_id, len(payload) - len(data))
            self._events.append(Received(stream_id, data, stream.ended))

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id % 2:
            raise ConnectionFailed(Error.PROTOCOL_ERROR, f"a client's stream has an odd number, not {stream_id}")
        self._on_block(self._headers.begin(flags, stream_id, unpadded(flags, payload)))

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._on_block(self._headers.go_on(flags, stream_id, payload))

    def _on_block(self, block: Block | None) -> None:
        if block is None:
            return
        if stream := self._streams.get(block.stream_id):  # trailers, of which gRPC has none: the end of the request
            stream.received(0, ended=True)
            self._events.append(Received(stream.id, b"", ended=True))
        elif block.stream_id > self._last_id:
            self._open(block)

    def _open(self, block: Block) -> None:
        self._last_id = block.stream_id
        if self._leaving or len(self._streams) >= MAX_STREAMS:
            self._out.append(rst_stream(block.stream_id, Error.REFUSED_STREAM))
            return
        self._streams[block.stream_id] = Stream(block.stream_id, self._initial_window, ended=block.ended)
        self._events.append(Requested(block.stream_id, block.headers, block.ended))

    def _on_reset(self, _flags: int, stream_id: int, _payload: bytes) -> None:
        self._require_opened(stream_id)
        if self._streams.pop(stream_id, None):
            self._waiting.pop(stream_id, None)
            self._resets += 1
            if self._resets > MAX_RESETS:
                raise ConnectionFailed(Error.ENHANCE_YOUR_CALM, "streams are opened only to be reset")
            self._events.append(Reset(stream_id))

    def _on_settings(self, flags: int, _stream_id: int, payload: bytes) -> None:
        if flags & Flag.ACK:
            return
        if len(payload) % SETTING.size:
            raise ConnectionFailed(Error.FRAME_SIZE_ERROR, "SETTINGS are pairs of six bytes")
        for key, value in SETTING.iter_unpack(payload):
            if key == Setting.INITIAL_WINDOW_SIZE:
                self._resize_windows(value)
            elif key == Setting.MAX_FRAME_SIZE:
                self._max_frame = max(FIRST_MAX_FRAME, value)
        self._out.append(frame(Type.SETTINGS, Flag.ACK, 0))
        self._flush_waiting()

    def _resize_windows(self, size: int) -> None:
        """Those of open streams change by as much, and may become negative (section 6.9.2)."""
        for stream in self._streams.values():
            stream.widen(size - self._initial_window)
        self._initial_window = size

    def _on_push(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise ConnectionFailed(Error.PROTOCOL_ERROR, "a client pushes nothing")

    def _on_ping(self, flags: int, _stream_id: int, payload: bytes) -> None:
        if not flags & Flag.ACK:
            self._out.append(frame(Type.PING, Flag.ACK, 0, payload))

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != WORD.size:
            raise ConnectionFailed(Error.FRAME_SIZE_ERROR, "WINDOW_UPDATE is one number")
        increment = WORD.unpack(payload)[0] & MAX_WINDOW
        if stream_id == 0:
            self._send_window += increment
            if self._send_window > MAX_WINDOW:
                raise ConnectionFailed(Error.FLOW_CONTROL_ERROR, "a window of more than 2 GiB")
            self._flush_waiting()
            return
        self._require_opened(stream_id)
        if stream := self._streams.get(stream_id):
            stream.widen(increment)
            if stream.waits:
                self._flush(stream)
