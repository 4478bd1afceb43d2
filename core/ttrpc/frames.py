"""The frames of ttrpc: bytes in, frames out, no socket."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

HEADER = struct.Struct(">IIBB")  # data length, stream id, type, flags: ttrpc PROTOCOL.md, "Message Frame"
MAX_DATA = 4 << 20  # bytes; "The maximum data length is 4MB and any larger size should be rejected"


class ProtocolError(Exception):
    """The peer does not speak ttrpc; the connection is of no more use."""


class FrameTooBig(ProtocolError):
    """The peer announced more than MAX_DATA bytes."""


class FrameType(enum.IntEnum):
    REQUEST = 1
    RESPONSE = 2
    DATA = 3


class Flags(enum.IntFlag):
    """Open and closed are seen from the one that receives the frame."""

    NONE = 0
    REMOTE_CLOSED = 1
    """Request: a stream, and nothing more comes from the client. Data: the last frame of its sender."""
    REMOTE_OPEN = 2
    """Request: a stream, and data of the client follows."""
    NO_DATA = 4
    """Data: there is no message in it; without the flag zero bytes are an empty message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    stream_id: int
    type: FrameType
    flags: int = 0
    data: bytes = b""

    def encode(self) -> bytes:
        """Raises FrameTooBig."""
        if len(self.data) > MAX_DATA:
            raise FrameTooBig(f"{len(self.data)} bytes on stream {self.stream_id}, limit {MAX_DATA}")
        return HEADER.pack(len(self.data), self.stream_id, self.type, self.flags) + self.data


class FrameReader:
    """Cuts a byte stream into frames, however it was cut on its way."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether no frame has begun."""
        return not self._buffer

    def feed(self, data: bytes) -> list[Frame]:
        """Add `data`; return the frames that are complete now, each once.

        Raises FrameTooBig as soon as the header is there, ProtocolError for an unknown type; then feed no more.
        """
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if len(self._buffer) < HEADER.size:
            return None
        length, stream_id, kind, flags = HEADER.unpack_from(self._buffer)
        if length > MAX_DATA:
            raise FrameTooBig(f"{length} bytes on stream {stream_id}, limit {MAX_DATA}")
        try:
            frame_type = FrameType(kind)
        except ValueError as exc:
            raise ProtocolError(f"frame type {kind:#x} on stream {stream_id}") from exc
        end = HEADER.size + length
        if len(self._buffer) < end:
            return None
        data = bytes(memoryview(self._buffer)[HEADER.size : end])
        del self._buffer[:end]
        return Frame(stream_id=stream_id, type=frame_type, flags=flags, data=data)
