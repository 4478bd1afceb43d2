"""What a peer of a SPDY session has done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened:
    stream_id: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReceived:
    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnded:
    """The peer sends nothing more on the stream."""

    stream_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReset:
    """The peer has ended the stream both ways."""

    stream_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOpened:
    """Something may be sent again, on this or, with id 0, on any stream."""

    stream_id: int


Event = StreamOpened | DataReceived | StreamEnded | StreamReset | WindowOpened
