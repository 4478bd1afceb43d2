"""Bytes of clients, however wrong and however cut: documented exceptions only, and the same result for any cut.

The corpus beside this file has what once mattered; `hypothesis` changes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errdefs import Cancelled
from cri.streaming.remotecommand.resize import SizeReader
from cri.streaming.spdy.events import DataReceived, Event
from cri.streaming.spdy.frames import ProtocolError
from cri.streaming.spdy.session import Session
from cri.streaming.websocket.channels import V5, Channels
from cri.streaming.websocket.connection import WebSocket

CORPUS = Path(__file__).with_name("corpus")
SPDY = [path.read_bytes() for path in sorted(CORPUS.glob("spdy/*.bin"))]
PROTOCOL_ERROR = 1002  # RFC 6455, section 7.4.1
WEBSOCKET = [path.read_bytes() for path in sorted(CORPUS.glob("websocket/*.bin"))]


def cut(wire: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(wire), size):
        yield wire[at : at + size]


def play(pieces: Iterator[bytes]) -> tuple[list[object], bool, bytes]:
    """What a session makes of the bytes: its events, whether it broke, what it answered."""
    session, events, broke = Session(lambda: 0.0), list[Event](), False
    try:
        for piece in pieces:
            for event in session.receive(piece):
                events.append(event)
    except ProtocolError:
        broke = True
    return joined(events), broke, b"".join(session.take())


def joined(events: Sequence[Event]) -> list[object]:
    """Events with the pieces of data of one stream put together."""
    out: list[object] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, DataReceived) and isinstance(last, DataReceived) and last.stream_id == event.stream_id:
            out[-1] = DataReceived(stream_id=event.stream_id, data=last.data + event.data)
        else:
            out.append(event)
    return out


def mutated(corpus: list[bytes]) -> st.SearchStrategy[bytes]:
    """A file of the corpus with some bytes replaced, removed or added."""

    @st.composite
    def one(draw: st.DrawFn) -> bytes:
        wire = bytearray(draw(st.sampled_from(corpus)))
        for _ in range(draw(st.integers(0, 5))):
            at = draw(st.integers(0, len(wire)))
            wire[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
        return bytes(wire)

    return one()


@pytest.mark.parametrize("wire", SPDY, ids=[path.stem for path in sorted(CORPUS.glob("spdy/*.bin"))])
def test_a_session_makes_the_same_of_the_same_bytes(wire: bytes) -> None:
    events, broke, answer = play(cut(wire, len(wire) or 1))
    for size in (1, 3, 8):
        assert play(cut(wire, size)) == (events, broke, answer)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated(SPDY), st.integers(1, 64))
def test_a_session_breaks_by_protocol_errors_alone(wire: bytes, size: int) -> None:
    assert play(cut(wire, len(wire) or 1)) == play(cut(wire, size))


class Recorded:
    """A wire that has these bytes to read, and remembers what was written."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.written = b""

    async def read(self) -> bytes:
        return next(self._pieces, b"")

    def write(self, buffers: Sequence[bytes]) -> None:
        self.written += b"".join(buffers)

    async def drain(self) -> None:
        pass

    async def close(self, linger: float = 0) -> None:
        pass

    def gone(self) -> bool:
        return True


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated(WEBSOCKET), st.integers(1, 64), st.sampled_from([V5, "v4.base64.channel.k8s.io"]))
def test_channels_make_the_same_of_the_same_bytes(wire: bytes, size: int, subprotocol: str) -> None:
    async def play(pieces: Iterator[bytes]) -> tuple[bytes, bytes, bytes]:
        recorded = Recorded(pieces)
        channels = Channels(WebSocket(recorded), subprotocol, [0])
        await channels.run()
        typed = b""
        try:
            while data := await channels.source(0).read(1 << 20):
                typed += data
        except Cancelled:
            pass  # the end of the bytes
        answers, _, close = recorded.written.partition(b"\x88")
        return typed, answers, close[1:3]  # the code; the words after it may count from the beginning of a cut

    whole, *rest = asyncio.run(play(cut(wire, len(wire) or 1)))
    pieces, *others = asyncio.run(play(cut(wire, size)))
    assert rest == others
    broke = int.from_bytes(rest[1], "big") >= PROTOCOL_ERROR
    assert pieces.startswith(whole) if broke else pieces == whole  # a message may be wrong at its end only


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=80) | st.sampled_from([b'{"Width":1,"Height":2}', b"[1", b'{"a":1e999}', b"1 2"]),
    st.integers(1, 9),
)
def test_sizes_are_read_or_a_value_error(wire: bytes, size: int) -> None:
    reader = SizeReader()
    try:
        for piece in cut(wire, size):
            for width, height in reader.feed(piece):
                assert 0 <= width <= 65535 >= height >= 0
    except ValueError:
        pass
