"""The frames of HTTP/2 (RFC 9113, sections 4 and 6): how their bytes are read and written.

    length, 24 bits | type, 8 bits | flags, 8 bits | 0 | stream id, 31 bits | payload
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with, section 3.4."""
HEAD = struct.Struct(">IBI")
WORD = struct.Struct(">I")
SETTING = struct.Struct(">HI")
ID = 0x7FFF_FFFF
MAX_FRAME = 256 << 10
"""Bytes of a payload that we take: what the loop reads at once. Messages of some MiB come in few pieces."""


class Type(enum.IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(enum.IntEnum):
    """Bits of a frame's flags. No IntFlag: its `&` alone would take half the time of a call."""

    END_STREAM = 0x1
    ACK = 0x1
    END_HEADERS = 0x4
    PADDED = 0x8
    PRIORITY = 0x20


class Setting(enum.IntEnum):
    """What we say or heed of section 6.5.2."""

    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Error(enum.IntEnum):
    """Section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFailed(Exception):
    """The peer does not keep to the protocol; the connection is of no more use."""

    def __init__(self, code: Error, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def settings(values: dict[Setting, int]) -> bytes:
    return frame(Type.SETTINGS, 0, 0, b"".join(SETTING.pack(*item) for item in values.items()))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(Type.WINDOW_UPDATE, 0, stream_id, WORD.pack(increment))


def rst_stream(stream_id: int, code: Error) -> bytes:
    return frame(Type.RST_STREAM, 0, stream_id, WORD.pack(code))


def go_away(last_id: int, code: Error) -> bytes:
    return frame(Type.GOAWAY, 0, 0, WORD.pack(last_id) + WORD.pack(code))


class FrameReader:
    """Cuts what comes into frames, however it was cut on its way."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Type, flags, stream id and payload of each frame that is whole. Raises ConnectionFailed (too large)."""
        if self._rest:
            data = self._rest + data
        start = 0
        while len(data) - start >= HEAD.size:
            head, flags, stream_id = HEAD.unpack_from(data, start)
            if head >> 8 > MAX_FRAME:
                raise ConnectionFailed(Error.FRAME_SIZE_ERROR, f"a frame of {head >> 8} bytes, {MAX_FRAME} are allowed")
            end = start + HEAD.size + (head >> 8)
            if end > len(data):
                break
            yield head & 0xFF, flags, stream_id & ID, data[start + HEAD.size : end]
            start = end
        self._rest = data[start:]


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without padding and priority. Raises ConnectionFailed."""
    start, end = 0, len(payload)
    if flags & Flag.PADDED:
        start, end = 1, end - (payload[0] if payload else end)
    if flags & Flag.PRIORITY:
        start += 5
    if start > end:
        raise ConnectionFailed(Error.PROTOCOL_ERROR, "more padding than payload")
    return payload[start:end] if flags & (Flag.PADDED | Flag.PRIORITY) else payload
