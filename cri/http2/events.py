"""What a client has done, as the server above HTTP/2 hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(slots=True)
class Requested:
    """A stream was opened; `ended` when nothing but these headers comes."""

    stream_id: int
    headers: Headers
    ended: bool


@dataclass(slots=True)
class Received:
    """A piece of a request's body, perhaps empty; `ended` with the last."""

    stream_id: int
    data: bytes
    ended: bool


@dataclass(slots=True)
class Reset:
    """The client has no more interest."""

    stream_id: int


@dataclass(slots=True)
class Sent:
    """All that was to be sent on a stream so far is on its way, after some of it had to wait."""

    stream_id: int


Event = Requested | Received | Reset | Sent
