"""The frames of SPDY/3.1 as values, and how their bytes are written (SPDY protocol, draft 3.1, sections 2.2 and 2.6).

    control  1 | version, 15 bits | type, 16 bits | flags, 8 bits | length, 24 bits | payload
    data     0 | stream id, 31 bits               | flags, 8 bits | length, 24 bits | data

`cri.streaming.spdy.reader` reads them.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

VERSION = 3  # SPDY/3.1 says 3 on the wire; 3.1 is in the HTTP upgrade
CONTROL = 0x8000_0000
ID = 0x7FFF_FFFF
FIN = 1
HEAD = struct.Struct(">II")
WORD = struct.Struct(">I")
SYN = struct.Struct(">IIBB")  # stream id, associated stream id, priority, slot


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
        return _control(Type.SYN_STREAM, SYN.pack(self.stream_id, 0, 0, 0) + self.block, fin=self.fin)


@dataclass(frozen=True, slots=True, kw_only=True)
class SynReply:
    stream_id: int
    block: bytes
    fin: bool = False

    def encode(self) -> bytes:
        return _control(Type.SYN_REPLY, WORD.pack(self.stream_id) + self.block, fin=self.fin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    stream_id: int
    block: bytes
    fin: bool = False

    def encode(self) -> bytes:
        return _control(Type.HEADERS, WORD.pack(self.stream_id) + self.block, fin=self.fin)


@dataclass(frozen=True, slots=True, kw_only=True)
class RstStream:
    stream_id: int
    status: int

    def encode(self) -> bytes:
        return _control(Type.RST_STREAM, HEAD.pack(self.stream_id, self.status))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    values: Mapping[int, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        entries = b"".join(HEAD.pack(id_, value) for id_, value in self.values.items())
        return _control(Type.SETTINGS, WORD.pack(len(self.values)) + entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    id: int
    """Odd when a client began it."""

    def encode(self) -> bytes:
        return _control(Type.PING, WORD.pack(self.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class GoAway:
    last_stream_id: int
    status: int = 0

    def encode(self) -> bytes:
        return _control(Type.GOAWAY, HEAD.pack(self.last_stream_id, self.status))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowUpdate:
    """`delta` more bytes may be sent on the stream, or on the whole session when `stream_id` is 0."""

    stream_id: int
    delta: int

    def encode(self) -> bytes:
        return _control(Type.WINDOW_UPDATE, HEAD.pack(self.stream_id, self.delta))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A control frame of a type that must be ignored, section 2.2.1."""

    type: int


Frame = Data | SynStream | SynReply | Headers | RstStream | Settings | Ping | GoAway | WindowUpdate | Unknown


def data_head(stream_id: int, length: int, *, fin: bool) -> bytes:
    """What goes before `length` bytes of data."""
    return HEAD.pack(stream_id, (FIN << 24 if fin else 0) | length)


def _control(kind: Type, payload: bytes, *, fin: bool = False) -> bytes:
    return HEAD.pack(CONTROL | VERSION << 16 | kind, (FIN << 24 if fin else 0) | len(payload)) + payload
