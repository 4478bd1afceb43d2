"""Reading the frames of SPDY/3.1: bytes in, frames out, no socket. Limits come before data."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

from cri.streaming.spdy.frames import (
    CONTROL,
    FIN,
    HEAD,
    ID,
    SYN,
    VERSION,
    WORD,
    Data,
    Frame,
    GoAway,
    Headers,
    Ping,
    ProtocolError,
    RstStream,
    Settings,
    SynReply,
    SynStream,
    TooBig,
    Type,
    Unknown,
    WindowUpdate,
)

MAX_CONTROL = 16 << 10
"""Bytes of a control frame's payload. Our clients' headers take some hundred; CVE-2026-35469 is about no limit."""
MAX_LENGTH = 0xFF_FFFF
"""Bytes of one data frame, as its header can say. A big one is handed on piece by piece, never held."""
MAX_SETTINGS = 64
"""Entries of a SETTINGS frame: the draft defines 8."""


class FrameReader:
    """Cuts a byte stream into frames, however it was cut on its way."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._data: tuple[int, bool, int] | None = None
        """Of the data frame that is coming in: stream id, fin, bytes that are still to come."""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add `data`; yield the frames that are complete now and the pieces of data frames, each once.

        Raises TooBig as soon as the header is there, ProtocolError for what no frame looks like; then feed no more.
        """
        self._buffer += data
        while (frame := self._piece() if self._data else self._frame()) is not None:
            yield frame

    def _piece(self) -> Data | None:
        assert self._data is not None
        stream_id, fin, left = self._data
        if left and not self._buffer:
            return None
        data = bytes(memoryview(self._buffer)[:left])
        del self._buffer[: len(data)]
        left -= len(data)
        self._data = (stream_id, fin, left) if left else None
        return Data(stream_id=stream_id, data=data, fin=fin and not left)

    def _frame(self) -> Frame | None:
        if len(self._buffer) < HEAD.size:
            return None
        word, length = HEAD.unpack_from(self._buffer)
        flags, length = length >> 24, length & MAX_LENGTH
        if not word & CONTROL:
            if not word:
                raise ProtocolError("data on stream 0")
            del self._buffer[: HEAD.size]
            self._data = (word, bool(flags & FIN), length)
            return self._piece()
        if word & 0x7FFF_0000 != VERSION << 16:
            raise ProtocolError(f"control frame of SPDY version {word >> 16 & 0x7FFF}")
        if length > MAX_CONTROL:
            raise TooBig(f"control frame of {length} bytes, limit {MAX_CONTROL}")
        end = HEAD.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(memoryview(self._buffer)[HEAD.size : end])
        del self._buffer[:end]
        return _parse(word & 0xFFFF, flags, payload)


def _parse(kind: int, flags: int, payload: bytes) -> Frame:
    parse = _PARSERS.get(kind)
    if parse is None:
        return Unknown(type=kind)
    try:
        return parse(bool(flags & FIN), payload)
    except struct.error as exc:
        raise ProtocolError(f"{Type(kind).name} of {len(payload)} bytes") from exc


def _syn_stream(fin: bool, payload: bytes) -> SynStream:
    stream_id = SYN.unpack_from(payload)[0] & ID
    return SynStream(stream_id=stream_id, block=payload[SYN.size :], fin=fin)


def _syn_reply(fin: bool, payload: bytes) -> SynReply:
    return SynReply(stream_id=WORD.unpack_from(payload)[0] & ID, block=payload[WORD.size :], fin=fin)


def _headers(fin: bool, payload: bytes) -> Headers:
    return Headers(stream_id=WORD.unpack_from(payload)[0] & ID, block=payload[WORD.size :], fin=fin)


def _rst_stream(_fin: bool, payload: bytes) -> RstStream:
    stream_id, status = HEAD.unpack(payload)
    return RstStream(stream_id=stream_id & ID, status=status)


def _settings(_fin: bool, payload: bytes) -> Settings:
    count = WORD.unpack_from(payload)[0]
    if count > MAX_SETTINGS:
        raise TooBig(f"SETTINGS with {count} entries, limit {MAX_SETTINGS}")
    if len(payload) != WORD.size + count * HEAD.size:
        raise ProtocolError(f"SETTINGS with {count} entries in {len(payload)} bytes")
    return Settings(values={id_ & 0xFF_FFFF: value for id_, value in HEAD.iter_unpack(payload[WORD.size :])})


def _ping(_fin: bool, payload: bytes) -> Ping:
    return Ping(id=WORD.unpack(payload)[0])


def _goaway(_fin: bool, payload: bytes) -> GoAway:
    last, status = HEAD.unpack(payload)
    return GoAway(last_stream_id=last & ID, status=status)


def _window_update(_fin: bool, payload: bytes) -> WindowUpdate:
    stream_id, delta = HEAD.unpack(payload)
    return WindowUpdate(stream_id=stream_id & ID, delta=delta & ID)


_PARSERS: Mapping[int, Callable[[bool, bytes], Frame]] = {
    Type.SYN_STREAM: _syn_stream,
    Type.SYN_REPLY: _syn_reply,
    Type.HEADERS: _headers,
    Type.RST_STREAM: _rst_stream,
    Type.SETTINGS: _settings,
    Type.PING: _ping,
    Type.GOAWAY: _goaway,
    Type.WINDOW_UPDATE: _window_update,
}
