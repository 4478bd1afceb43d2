"""The frames of SPDY/3.1: bytes in, frames out, no socket (SPDY protocol, draft 3.1, section 2.2).

control  1 | version, 15 bits | type, 16 bits | flags, 8 bits | length, 24 bits | payload
data     0 | stream id, 31 bits               | flags, 8 bits | length, 24 bits | data
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

VERSION = 3  # SPDY/3.1 says 3 on the wire; 3.1 is in the HTTP upgrade
MAX_CONTROL = 16 << 10
"""Bytes of a control frame's payload. Our clients' headers take some hundred; CVE-2026-35469 is about no limit."""
MAX_LENGTH = 0xFF_FFFF
"""Bytes of one data frame, as its header can say. A big one is handed on piece by piece, never held."""
MAX_SETTINGS = 64
"""Entries of a SETTINGS frame: the draft defines 8."""

_CONTROL = 0x8000_0000
_ID = 0x7FFF_FFFF
_FIN = 1
_HEAD = struct.Struct(">II")
_WORD = struct.Struct(">I")
_SYN = struct.Struct(">IIBB")  # stream id, associated stream id, priority, slot


class ProtocolError(Exception):
    """The peer does not speak SPDY/3.1; the session is of no more use."""


class TooBig(ProtocolError):
    """The peer announced more than a limit of ours, and nothing of it was stored."""


class Type(enum.IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Status(enum.IntEnum):
    """Why a stream is reset, section 2.6.3."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_ALREADY_CLOSED = 9


class Setting(enum.IntEnum):
    """What we say or heed of section 2.6.4."""

    MAX_CONCURRENT_STREAMS = 4
    INITIAL_WINDOW_SIZE = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A piece of a data frame; `fin` on the last piece of the last frame of its sender."""

    stream_id: int
    data: bytes = b""
    fin: bool = False

    def encode(self) -> bytes:
        return data_head(self.stream_id, len(self.data), fin=self.fin) + self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class SynStream:
    """Opens a stream; `block` is the compressed header block, here and below."""

    stream_id: int
    block: bytes
    fin: bool = False

    def encode(self) -> bytes:
        return _control(Type.SYN_STREAM, _SYN.pack(self.stream_id, 0, 0, 0) + self.block, fin=self.fin)


@dataclass(frozen=True, slots=True, kw_only=True)
class SynReply:
    stream_id: int
    block: bytes
    fin: bool = False

    def encode(self) -> bytes:
        return _control(Type.SYN_REPLY, _WORD.pack(self.stream_id) + self.block, fin=self.fin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    stream_id: int
    block: bytes
    fin: bool = False

    def encode(self) -> bytes:
        return _control(Type.HEADERS, _WORD.pack(self.stream_id) + self.block, fin=self.fin)


@dataclass(frozen=True, slots=True, kw_only=True)
class RstStream:
    stream_id: int
    status: int

    def encode(self) -> bytes:
        return _control(Type.RST_STREAM, _HEAD.pack(self.stream_id, self.status))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    values: Mapping[int, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        entries = b"".join(_HEAD.pack(id_, value) for id_, value in self.values.items())
        return _control(Type.SETTINGS, _WORD.pack(len(self.values)) + entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    id: int
    """Odd when a client began it."""

    def encode(self) -> bytes:
        return _control(Type.PING, _WORD.pack(self.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class GoAway:
    last_stream_id: int
    status: int = 0

    def encode(self) -> bytes:
        return _control(Type.GOAWAY, _HEAD.pack(self.last_stream_id, self.status))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowUpdate:
    """`delta` more bytes may be sent on the stream, or on the whole session when `stream_id` is 0."""

    stream_id: int
    delta: int

    def encode(self) -> bytes:
        return _control(Type.WINDOW_UPDATE, _HEAD.pack(self.stream_id, self.delta))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A control frame of a type that must be ignored, section 2.2.1."""

    type: int


Frame = Data | SynStream | SynReply | Headers | RstStream | Settings | Ping | GoAway | WindowUpdate | Unknown


def data_head(stream_id: int, length: int, *, fin: bool) -> bytes:
    """What goes before `length` bytes of data."""
    return _HEAD.pack(stream_id, (_FIN << 24 if fin else 0) | length)


def _control(kind: Type, payload: bytes, *, fin: bool = False) -> bytes:
    return _HEAD.pack(_CONTROL | VERSION << 16 | kind, (_FIN << 24 if fin else 0) | len(payload)) + payload


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
        if len(self._buffer) < _HEAD.size:
            return None
        word, length = _HEAD.unpack_from(self._buffer)
        flags, length = length >> 24, length & MAX_LENGTH
        if not word & _CONTROL:
            if not word:
                raise ProtocolError("data on stream 0")
            del self._buffer[: _HEAD.size]
            self._data = (word, bool(flags & _FIN), length)
            return self._piece()
        if word & 0x7FFF_0000 != VERSION << 16:
            raise ProtocolError(f"control frame of SPDY version {word >> 16 & 0x7FFF}")
        if length > MAX_CONTROL:
            raise TooBig(f"control frame of {length} bytes, limit {MAX_CONTROL}")
        end = _HEAD.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(memoryview(self._buffer)[_HEAD.size : end])
        del self._buffer[:end]
        return _parse(word & 0xFFFF, flags, payload)


def _parse(kind: int, flags: int, payload: bytes) -> Frame:
    parse = _PARSERS.get(kind)
    if parse is None:
        return Unknown(type=kind)
    try:
        return parse(bool(flags & _FIN), payload)
    except struct.error as exc:
        raise ProtocolError(f"{Type(kind).name} of {len(payload)} bytes") from exc


def _syn_stream(fin: bool, payload: bytes) -> SynStream:
    stream_id = _SYN.unpack_from(payload)[0] & _ID
    return SynStream(stream_id=stream_id, block=payload[_SYN.size :], fin=fin)


def _syn_reply(fin: bool, payload: bytes) -> SynReply:
    return SynReply(stream_id=_WORD.unpack_from(payload)[0] & _ID, block=payload[_WORD.size :], fin=fin)


def _headers(fin: bool, payload: bytes) -> Headers:
    return Headers(stream_id=_WORD.unpack_from(payload)[0] & _ID, block=payload[_WORD.size :], fin=fin)


def _rst_stream(_fin: bool, payload: bytes) -> RstStream:
    stream_id, status = _HEAD.unpack(payload)
    return RstStream(stream_id=stream_id & _ID, status=status)


def _settings(_fin: bool, payload: bytes) -> Settings:
    count = _WORD.unpack_from(payload)[0]
    if count > MAX_SETTINGS:
        raise TooBig(f"SETTINGS with {count} entries, limit {MAX_SETTINGS}")
    if len(payload) != _WORD.size + count * _HEAD.size:
        raise ProtocolError(f"SETTINGS with {count} entries in {len(payload)} bytes")
    return Settings(values={id_ & 0xFF_FFFF: value for id_, value in _HEAD.iter_unpack(payload[_WORD.size :])})


def _ping(_fin: bool, payload: bytes) -> Ping:
    return Ping(id=_WORD.unpack(payload)[0])


def _goaway(_fin: bool, payload: bytes) -> GoAway:
    last, status = _HEAD.unpack(payload)
    return GoAway(last_stream_id=last & _ID, status=status)


def _window_update(_fin: bool, payload: bytes) -> WindowUpdate:
    stream_id, delta = _HEAD.unpack(payload)
    return WindowUpdate(stream_id=stream_id & _ID, delta=delta & _ID)


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
