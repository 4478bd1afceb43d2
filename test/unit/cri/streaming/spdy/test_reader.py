from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.streaming.spdy.frames import (
    Data,
    Frame,
    GoAway,
    Headers,
    Ping,
    ProtocolError,
    RstStream,
    Settings,
    SynReply,
    SynStream,
    TooBig,
    Unknown,
    WindowUpdate,
)
from cri.streaming.spdy.reader import MAX_CONTROL, FrameReader

FRAMES = [
    SynStream(stream_id=1, block=b"block", fin=True),
    SynReply(stream_id=1, block=b"block"),
    Headers(stream_id=1, block=b"", fin=True),
    Data(stream_id=1, data=b"data"),
    Data(stream_id=3, fin=True),
    RstStream(stream_id=1, status=5),
    Settings(values={4: 100, 7: 65536}),
    Ping(id=1),
    GoAway(last_stream_id=3, status=1),
    WindowUpdate(stream_id=0, delta=1000),
]


def joined(frames: list[Frame]) -> list[object]:
    """Frames with the pieces of data of one stream put together."""
    out: list[object] = []
    for frame in frames:
        last = out[-1] if out else None
        if isinstance(frame, Data) and isinstance(last, Data) and last.stream_id == frame.stream_id and not last.fin:
            out[-1] = Data(stream_id=frame.stream_id, data=last.data + frame.data, fin=frame.fin)
        else:
            out.append(frame)
    return out


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_what_is_encoded_is_read_back(frame: Frame) -> None:
    assert not isinstance(frame, Unknown)
    assert list(FrameReader().feed(frame.encode())) == [frame]


def test_the_cut_of_the_bytes_makes_no_difference() -> None:
    reader = FrameReader()
    wire = b"".join(frame.encode() for frame in FRAMES if not isinstance(frame, Unknown))
    frames = [frame for byte in wire for frame in reader.feed(bytes([byte]))]
    assert joined(frames) == FRAMES


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=20))
def test_any_bytes_are_frames_or_a_protocol_error_however_they_are_cut(wire: bytes, cuts: list[int]) -> None:
    def read(pieces: list[bytes]) -> list[object]:
        reader, frames, fault = FrameReader(), list[Frame](), ""
        try:
            for piece in pieces:
                for frame in reader.feed(piece):
                    frames.append(frame)
        except ProtocolError as exc:
            fault = str(exc)
        return [*joined(frames), fault]

    pieces, rest = [], wire
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    assert read([*pieces, rest]) == read([wire])


def test_a_big_data_frame_is_handed_on_in_pieces() -> None:
    reader = FrameReader()
    wire = Data(stream_id=1, data=b"x" * 100, fin=True).encode()
    assert list(reader.feed(wire[:58])) == [Data(stream_id=1, data=b"x" * 50)]
    assert list(reader.feed(wire[58:])) == [Data(stream_id=1, data=b"x" * 50, fin=True)]


@pytest.mark.parametrize("kind", [1, 2, 4, 8, 99])
def test_a_control_frame_beyond_the_limit_is_refused_by_its_head_alone(kind: int) -> None:
    with pytest.raises(TooBig):
        list(FrameReader().feed(struct.pack(">HHI", 0x8003, kind, MAX_CONTROL + 1)))


def test_settings_with_two_to_the_32_entries_are_refused() -> None:
    with pytest.raises(TooBig):
        list(FrameReader().feed(struct.pack(">HHII", 0x8003, 4, 4, 0xFFFF_FFFF)))


@pytest.mark.parametrize("kind", [1, 2, 3, 6, 7, 8, 9])
def test_a_control_frame_that_is_too_short_is_a_protocol_error(kind: int) -> None:
    with pytest.raises(ProtocolError):
        list(FrameReader().feed(struct.pack(">HHIH", 0x8003, kind, 2, 0)))


def test_another_version_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        list(FrameReader().feed(struct.pack(">HHI", 0x8002, 6, 4)))


def test_data_on_stream_0_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        list(FrameReader().feed(struct.pack(">II", 0, 1)))


def test_an_unknown_control_frame_is_skipped() -> None:
    assert list(FrameReader().feed(struct.pack(">HHI", 0x8003, 11, 3) + b"abc" + Ping(id=1).encode())) == [
        Unknown(type=11),
        Ping(id=1),
    ]
