from __future__ import annotations

import struct

import pytest

from cri.streaming.flood import MAX_IDLE_FRAMES
from cri.streaming.spdy.events import DataReceived, Event, StreamEnded, StreamOpened, StreamReset, WindowOpened
from cri.streaming.spdy.frames import (
    Data,
    Frame,
    GoAway,
    Ping,
    ProtocolError,
    RstStream,
    Setting,
    Settings,
    Status,
    SynReply,
    SynStream,
    Unknown,
    WindowUpdate,
)
from cri.streaming.spdy.headers import HeaderWriter
from cri.streaming.spdy.reader import FrameReader
from cri.streaming.spdy.session import MAX_STREAMS, SESSION, Session
from cri.streaming.spdy.windows import DEFAULT_WINDOW, SESSION_WINDOW, STREAM_WINDOW


class Peer:
    """A client on one end, the session on the other, and no socket between them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.session = Session(lambda: self.now)
        self.names = HeaderWriter()
        self.reader = FrameReader()
        self.greeting = self.said()

    def send(self, *frames: Frame) -> list[Event]:
        wire = b"".join(frame.encode() for frame in frames if not isinstance(frame, Unknown))
        return list(self.session.receive(wire))

    def said(self) -> list[Frame]:
        return list(self.reader.feed(b"".join(self.session.take())))

    def open(self, stream_id: int = 1, **headers: str) -> list[Event]:
        return self.send(SynStream(stream_id=stream_id, block=self.names.write(headers)))


@pytest.fixture
def peer() -> Peer:
    return Peer()


def test_a_session_begins_with_what_we_take(peer: Peer) -> None:
    ours = {Setting.MAX_CONCURRENT_STREAMS: MAX_STREAMS, Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW}
    assert peer.greeting == [
        Settings(values=ours),
        WindowUpdate(stream_id=SESSION, delta=SESSION_WINDOW - DEFAULT_WINDOW),
    ]


def test_a_stream_is_opened_answered_used_and_forgotten(peer: Peer) -> None:
    assert peer.open(streamtype="data") == [StreamOpened(stream_id=1, headers={"streamtype": "data"})]
    peer.session.reply(1)
    peer.session.send(1, b"hello")
    peer.session.finish(1)
    reply, hello, end = peer.said()
    assert isinstance(reply, SynReply)
    assert (hello, end) == (Data(stream_id=1, data=b"hello"), Data(stream_id=1, fin=True))
    assert peer.send(Data(stream_id=1, data=b"bye", fin=True)) == [
        DataReceived(stream_id=1, data=b"bye"),
        StreamEnded(stream_id=1),
    ]
    assert not peer.session.streams


def test_a_reset_ends_a_stream_both_ways(peer: Peer) -> None:
    peer.open()
    assert peer.send(RstStream(stream_id=1, status=Status.CANCEL)) == [StreamReset(stream_id=1)]
    assert not peer.session.writable(1)
    assert not peer.session.streams


def test_what_comes_for_a_stream_that_we_reset_is_dropped(peer: Peer) -> None:
    peer.open()
    peer.session.reset(1)
    assert peer.said() == [RstStream(stream_id=1, status=Status.CANCEL)]
    assert peer.send(Data(stream_id=1, data=b"late")) == []


def test_a_ping_of_the_client_is_answered_and_an_answer_is_not(peer: Peer) -> None:
    peer.send(Ping(id=1), Ping(id=2))
    assert peer.said() == [Ping(id=1)]


def test_without_a_word_about_windows_the_client_has_none(peer: Peer) -> None:
    peer.open()
    peer.session.send(1, b"x" * 10 * DEFAULT_WINDOW)
    assert peer.session.window(1) > 10 * DEFAULT_WINDOW


def test_the_windows_of_a_client_that_has_them_are_kept(peer: Peer) -> None:
    peer.open(1)
    peer.open(3)
    assert peer.send(WindowUpdate(stream_id=SESSION, delta=DEFAULT_WINDOW)) == [WindowOpened(stream_id=SESSION)]
    assert peer.session.window(1) == DEFAULT_WINDOW
    peer.session.send(1, b"x" * DEFAULT_WINDOW)
    assert (peer.session.window(1), peer.session.window(3)) == (0, DEFAULT_WINDOW)
    peer.session.send(3, b"x" * DEFAULT_WINDOW)
    assert peer.send(WindowUpdate(stream_id=3, delta=10)) == [WindowOpened(stream_id=3)]
    assert peer.session.window(3) == 0  # the session's is used up
    peer.send(WindowUpdate(stream_id=SESSION, delta=5))
    assert peer.session.window(3) == 5


def test_settings_change_the_windows_of_open_streams_below_zero(peer: Peer) -> None:
    peer.open()
    peer.session.send(1, b"x" * 1000)
    peer.send(Settings(values={Setting.INITIAL_WINDOW_SIZE: 500}))
    assert peer.session.window(1) == 0
    peer.send(WindowUpdate(stream_id=1, delta=501))
    assert peer.session.window(1) == 1


def test_a_stream_window_beyond_2_gib_resets_the_stream(peer: Peer) -> None:
    peer.open()
    assert peer.send(WindowUpdate(stream_id=1, delta=2**31 - 1)) == [StreamReset(stream_id=1)]
    assert peer.said() == [RstStream(stream_id=1, status=Status.FLOW_CONTROL_ERROR)]


def test_what_is_read_is_credited_to_the_stream_and_the_session(peer: Peer) -> None:
    peer.open()
    peer.session.consumed(1, STREAM_WINDOW // 2 - 1)
    assert peer.said() == []
    peer.session.consumed(1, 1)
    assert peer.said() == [WindowUpdate(stream_id=1, delta=STREAM_WINDOW // 2)]
    for _ in range(3):
        peer.session.consumed(1, STREAM_WINDOW // 2)
    assert WindowUpdate(stream_id=SESSION, delta=SESSION_WINDOW // 2) in peer.said()


def test_data_after_the_end_resets_the_stream(peer: Peer) -> None:
    peer.open()
    peer.send(Data(stream_id=1, fin=True))
    assert peer.send(Data(stream_id=1, data=b"more")) == [StreamReset(stream_id=1)]
    assert peer.said() == [RstStream(stream_id=1, status=Status.STREAM_ALREADY_CLOSED)]


def test_one_stream_too_many_is_refused_and_the_compression_goes_on(peer: Peer) -> None:
    for number in range(MAX_STREAMS):
        peer.open(2 * number + 1, n=str(number))
    last = 2 * MAX_STREAMS + 1
    assert peer.open(last, n="too many") == []
    assert peer.said() == [RstStream(stream_id=last, status=Status.REFUSED_STREAM)]
    peer.send(RstStream(stream_id=1, status=Status.CANCEL))
    assert peer.open(last + 2, n="again") == [StreamOpened(stream_id=last + 2, headers={"n": "again"})]


@pytest.mark.parametrize("frame", [Ping(id=1), Settings(), RstStream(stream_id=9, status=5), Data(stream_id=1)])
def test_a_flood_of_frames_that_carry_nothing_ends_the_session(peer: Peer, frame: Frame) -> None:
    peer.open()
    for _ in range(3):
        peer.send(*[frame] * MAX_IDLE_FRAMES)
        peer.now += 1  # in time they are welcome
    with pytest.raises(ProtocolError):
        peer.send(*[frame] * (MAX_IDLE_FRAMES + 1))
    assert peer.said()[-1] == GoAway(last_stream_id=1, status=1)


@pytest.mark.parametrize("stream_id", [0, 2, 3])
def test_stream_ids_are_odd_and_grow(peer: Peer, stream_id: int) -> None:
    peer.open(3)
    with pytest.raises(ProtocolError):
        peer.open(stream_id)
    assert peer.said()[-1] == GoAway(last_stream_id=3, status=1)


def test_data_on_a_stream_that_nobody_opened_ends_the_session(peer: Peer) -> None:
    with pytest.raises(ProtocolError):
        peer.send(Data(stream_id=1, data=b"x"))


def test_after_our_goodbye_no_stream_is_taken(peer: Peer) -> None:
    peer.open(1)
    peer.session.go_away()
    peer.session.go_away()
    assert peer.open(3) == []
    assert peer.said() == [GoAway(last_stream_id=1), RstStream(stream_id=3, status=Status.REFUSED_STREAM)]
    assert peer.send(Data(stream_id=1, data=b"goes on")) == [DataReceived(stream_id=1, data=b"goes on")]


def test_a_header_block_that_does_not_inflate_ends_the_session(peer: Peer) -> None:
    with pytest.raises(ProtocolError):
        list(peer.session.receive(struct.pack(">HHIIIH", 0x8003, 1, 13, 1, 0, 0) + b"abc"))
