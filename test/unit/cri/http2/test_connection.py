"""Our end of HTTP/2, against a client of another make and against frames that no client should send."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import hpack
import pytest
from h2.settings import SettingCodes

from cri.http2 import connection as ours
from cri.http2.connection import CONNECTION_WINDOW, MAX_RESETS, Connection
from cri.http2.events import Event, Received, Requested, Reset, Sent
from cri.http2.frames import MAX_FRAME, PREFACE, ConnectionFailed, Error, Flag, Type, frame, settings
from cri.http2.headers import MAX_CONTINUATIONS, MAX_HEADERS
from cri.http2.stream import WINDOW

REQUEST = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/a/b"), ("te", "trailers")]
RESPONSE = hpack.Encoder().encode([(":status", "200")], huffman=False)
TRAILERS = b"\0\x04done\x03yes"


class Peer:
    """A client and our end, and no socket between them."""

    def __init__(self) -> None:
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.client.initiate_connection()
        self.server = Connection()
        self.heard: list[h2.events.Event] = []
        self.talk()

    def talk(self) -> list[Event]:
        """Bytes to and fro until nobody says anything; what our end tells of them."""
        events: list[Event] = []
        while (asked := self.client.data_to_send()) or (answered := self.server.take()):
            if asked:
                events += self.server.receive(asked)
            elif answered:
                self.heard += self.client.receive_data(answered)
        return events

    def open(self, *, ended: bool = True) -> int:
        stream_id = self.client.get_next_available_stream_id()
        self.client.send_headers(stream_id, REQUEST, end_stream=ended)
        return stream_id

    def body(self) -> bytes:
        return b"".join(event.data for event in self.heard if isinstance(event, h2.events.DataReceived))

    def answer(self, stream_id: int, body: bytes) -> int:
        self.server.respond(stream_id, RESPONSE)
        waiting = self.server.send(stream_id, body)
        self.server.end(stream_id, TRAILERS)
        return waiting


@pytest.fixture
def peer() -> Peer:
    return Peer()


def ids_of(events: list[Event]) -> list[int]:
    return [event.stream_id for event in events]


def test_a_request_comes_and_its_answer_goes_as_a_whole(peer: Peer) -> None:
    stream_id = peer.open(ended=False)
    peer.client.send_data(stream_id, b"question", end_stream=True, pad_length=7)
    requested, received = peer.talk()
    assert isinstance(requested, Requested)
    assert dict(requested.headers)[b":path"] == b"/a/b"
    assert received == Received(stream_id, b"question", ended=True)
    assert peer.answer(stream_id, b"answer") == 0
    peer.talk()
    kinds = [type(event).__name__ for event in peer.heard[-4:]]
    assert kinds == ["ResponseReceived", "DataReceived", "TrailersReceived", "StreamEnded"]
    assert peer.body() == b"answer"


def test_an_answer_waits_for_the_windows_of_its_stream_and_of_the_connection(peer: Peer) -> None:
    first, second = peer.open(), peer.open()
    peer.talk()
    assert peer.answer(first, b"a" * 100_000) > 0
    assert peer.answer(second, b"b" * 10) == 10  # the connection's window is used up
    peer.talk()
    assert len(peer.body()) == 65_535
    peer.client.increment_flow_control_window(1 << 20)
    assert ids_of(peer.talk()) == [second]  # the first waits for its own, and holds up nobody
    peer.client.increment_flow_control_window(1 << 20, first)
    assert peer.talk() == [Sent(first)]
    assert sorted(peer.body()) == sorted(b"a" * 100_000 + b"b" * 10)
    assert sum(isinstance(event, h2.events.StreamEnded) for event in peer.heard) == 2


def test_windows_change_with_the_settings_of_the_client_and_may_become_negative(peer: Peer) -> None:
    stream_id = peer.open()
    peer.talk()
    peer.server.respond(stream_id, RESPONSE)
    peer.server.send(stream_id, b"x" * 60_000)
    peer.talk()
    peer.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100, SettingCodes.MAX_FRAME_SIZE: 20_000})
    peer.talk()
    assert peer.server.send(stream_id, b"y" * 10) == 10
    peer.client.increment_flow_control_window(60_000, stream_id)
    peer.client.increment_flow_control_window(60_000)
    assert peer.talk() == [Sent(stream_id)]


def test_a_long_request_comes_as_fast_as_it_is_taken(peer: Peer) -> None:
    stream_id = peer.open(ended=False)
    sent = 0
    peer.talk()
    while room := min(peer.client.local_flow_control_window(stream_id), peer.client.max_outbound_frame_size):
        peer.client.send_data(stream_id, bytes(room))
        sent += room
        peer.talk()
    assert sent == WINDOW
    peer.server.consumed(stream_id, WINDOW)
    peer.talk()
    assert peer.client.local_flow_control_window(stream_id) == WINDOW


def test_an_answer_before_the_end_of_the_request_is_all_there_is(peer: Peer) -> None:
    stream_id = peer.open(ended=False)
    peer.talk()
    peer.server.end(stream_id, RESPONSE)
    peer.talk()
    assert isinstance(peer.heard[-1], h2.events.StreamReset | h2.events.StreamEnded)
    late = frame(Type.DATA, 0, stream_id, b"late") + frame(Type.WINDOW_UPDATE, 0, stream_id, b"\0\0\0\1")
    assert peer.server.receive(late) == []


def test_what_the_client_gives_up_is_no_more(peer: Peer) -> None:
    stream_id = peer.open()
    peer.talk()
    peer.client.reset_stream(stream_id)
    assert peer.talk() == [Reset(stream_id)]
    peer.answer(stream_id, b"too late")
    assert peer.server.take() == b""


def test_pings_are_answered_and_what_is_unknown_is_not(peer: Peer) -> None:
    peer.client.ping(b"12345678")
    peer.talk()
    assert isinstance(peer.heard[-1], h2.events.PingAckReceived)
    assert peer.server.receive(frame(0xAB, 0xFF, 5, b"x") + frame(Type.PRIORITY, 0, 9, bytes(5))) == []


def test_who_leaves_takes_no_more_and_answers_what_has_come(peer: Peer) -> None:
    stream_id = peer.open()
    peer.talk()
    peer.server.leave()
    assert peer.server.receive(frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, stream_id + 2, RESPONSE)) == []
    peer.answer(stream_id, b"still")
    wire = peer.server.take()
    assert frame(Type.RST_STREAM, 0, stream_id + 2, b"\0\0\0\7") in wire
    assert b"still" in wire


def test_too_many_streams_are_refused_one_by_one(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "MAX_STREAMS", 2)
    opened = [peer.open() for _ in range(3)]
    assert ids_of(peer.talk()) == opened[:2]
    reset = peer.heard[-1]
    assert isinstance(reset, h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (opened[2], Error.REFUSED_STREAM)


def request(stream_id: int = 1, flags: int = Flag.END_HEADERS, block: bytes = RESPONSE) -> bytes:
    return frame(Type.HEADERS, flags, stream_id, block)


BROKEN = {
    "not HTTP/2": (b"GET / HTTP/1.1\r\n\r\n", Error.PROTOCOL_ERROR),
    "too large": (PREFACE + frame(Type.PING, 0, 0, bytes(MAX_FRAME + 1)), Error.FRAME_SIZE_ERROR),
    "data of nothing": (PREFACE + frame(Type.DATA, 0, 1, b"x"), Error.PROTOCOL_ERROR),
    "reset of nothing": (PREFACE + frame(Type.RST_STREAM, 0, 1, bytes(4)), Error.PROTOCOL_ERROR),
    "even stream": (PREFACE + request(2), Error.PROTOCOL_ERROR),
    "data after the end": (
        PREFACE + request(1, Flag.END_HEADERS | Flag.END_STREAM) + frame(Type.DATA, 0, 1, b"x"),
        Error.STREAM_CLOSED,
    ),
    "padding": (PREFACE + request() + frame(Type.DATA, Flag.PADDED, 1, b"\x05x"), Error.PROTOCOL_ERROR),
    "no padding": (PREFACE + frame(Type.HEADERS, Flag.PADDED, 1), Error.PROTOCOL_ERROR),
    "no priority": (PREFACE + frame(Type.HEADERS, Flag.PRIORITY, 1, b"abc"), Error.PROTOCOL_ERROR),
    "headers of no table": (PREFACE + request(block=b"\xff\xff\xff\x7f"), Error.COMPRESSION_ERROR),
    "headers that grow": (
        PREFACE + request(block=b"\x40\x01a" + b"\x7f\x81\x1e" + bytes(4000) + b"\xbe" * 20), Error.COMPRESSION_ERROR
    ),
    "headers broken off": (PREFACE + request(flags=0) + frame(Type.PING, 0, 0, bytes(8)), Error.PROTOCOL_ERROR),
    "headers of another": (PREFACE + request(flags=0) + frame(Type.CONTINUATION, 0, 3), Error.PROTOCOL_ERROR),
    "continuation of nothing": (PREFACE + frame(Type.CONTINUATION, 0, 1), Error.PROTOCOL_ERROR),
    "continuation flood": (
        PREFACE + request(flags=0) + frame(Type.CONTINUATION, 0, 1) * (MAX_CONTINUATIONS + 1),
        Error.ENHANCE_YOUR_CALM,
    ),
    "headers without end": (
        PREFACE + request(flags=0, block=b"x") + frame(Type.CONTINUATION, 0, 1, bytes(MAX_HEADERS)),
        Error.ENHANCE_YOUR_CALM,
    ),
    "push": (PREFACE + frame(Type.PUSH_PROMISE, 0, 1, bytes(4)), Error.PROTOCOL_ERROR),
    "settings": (PREFACE + frame(Type.SETTINGS, 0, 0, b"x"), Error.FRAME_SIZE_ERROR),
    "window": (PREFACE + frame(Type.WINDOW_UPDATE, 0, 0, b"x"), Error.FRAME_SIZE_ERROR),
    "window of too much": (
        PREFACE + frame(Type.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2,
        Error.FLOW_CONTROL_ERROR,
    ),
    "stream's window of too much": (
        PREFACE + request() + frame(Type.WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff") * 2,
        Error.FLOW_CONTROL_ERROR,
    ),
    "more than the window": (
        PREFACE + request() + frame(Type.DATA, 0, 1, bytes(MAX_FRAME)) * (WINDOW // MAX_FRAME + 1),
        Error.FLOW_CONTROL_ERROR,
    ),
    "rapid reset": (
        PREFACE
        + b"".join(request(2 * n + 1) + frame(Type.RST_STREAM, 0, 2 * n + 1, bytes(4)) for n in range(MAX_RESETS + 1)),
        Error.ENHANCE_YOUR_CALM,
    ),
}


@pytest.mark.parametrize(("wire", "code"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("size", [1 << 30, 1000])
def test_who_breaks_the_protocol_is_told_why_and_left(wire: bytes, code: Error, size: int) -> None:
    server = Connection()
    server.take()
    with pytest.raises(ConnectionFailed) as caught:
        for at in range(0, len(wire), size):
            server.receive(wire[at : at + size])
    assert caught.value.code == code
    assert frame(Type.GOAWAY, 0, 0, b"")[3:] in server.take()


def test_data_that_nobody_waits_for_uses_up_no_window(peer: Peer) -> None:
    peer.server.receive(request(1, Flag.END_HEADERS))
    peer.server.receive(frame(Type.RST_STREAM, 0, 1, bytes(4)))
    wire = frame(Type.DATA, 0, 1, bytes(MAX_FRAME))
    for _ in range(3 * CONNECTION_WINDOW // MAX_FRAME):
        peer.server.receive(wire)
    assert peer.server.receive(settings({})) == []
