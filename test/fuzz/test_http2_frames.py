"""Bytes of clients of the CRI socket, however wrong and however cut: one documented exception, and the same events."""

from __future__ import annotations

from collections.abc import Iterator

import h2.connection
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cri.grpc import wire
from cri.http2.connection import Connection
from cri.http2.events import Event
from cri.http2.frames import PREFACE, ConnectionFailed, Flag, Type, frame, window_update
from cri.http2.frames import settings as settings_frame

REQUEST = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/a/b"), ("te", "trailers")]


def conversation() -> bytes:
    """Of a client of another make: requests, a reset, a ping."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    for stream_id in (1, 3, 5):
        client.send_headers(stream_id, REQUEST)
        client.send_data(stream_id, wire.message(b"x" * 40), end_stream=stream_id != 5, pad_length=stream_id)
    client.reset_stream(5)
    client.ping(bytes(8))
    return client.data_to_send()


CORPUS = [
    conversation(),
    PREFACE
    + settings_frame({})
    + frame(Type.HEADERS, 0, 1, wire.request("/a/b")[:10])
    + frame(Type.CONTINUATION, Flag.END_HEADERS, 1, wire.request("/a/b")[10:])
    + frame(Type.DATA, Flag.END_STREAM, 1, wire.message(b""))
    + window_update(0, 1000)
    + frame(Type.GOAWAY, 0, 0, bytes(8)),
]


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def play(pieces: Iterator[bytes]) -> tuple[list[Event], bool, bytes]:
    """What our end makes of the bytes: events, whether it gave up, what it answered."""
    connection, events = Connection(), list[Event]()
    for piece in pieces:
        try:
            events += connection.receive(piece)
        except ConnectionFailed:
            return events, True, connection.take()
    return events, False, connection.take()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One of the corpus with some bytes replaced, removed or added."""
    data = bytearray(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(data)


@settings(max_examples=300, deadline=None)
@given(data=mutated(), size=st.integers(1, 80))
def test_nothing_but_a_broken_connection_comes_of_wrong_bytes(data: bytes, size: int) -> None:
    _, broke, answered = play(cut(data, size))
    whole = play(iter([data]))
    assert (broke, answered) == whole[1:]


@pytest.mark.parametrize("data", CORPUS)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_right_client_is_heard_the_same_however_it_is_cut(data: bytes, size: int) -> None:
    assert play(cut(data, size)) == play(iter([data]))
    assert not play(iter([data]))[1]
