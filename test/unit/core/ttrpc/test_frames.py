import pytest

from core.ttrpc.frames import HEADER, MAX_DATA, Flags, Frame, FrameReader, FrameTooBig, FrameType, ProtocolError

FRAMES = [
    Frame(stream_id=1, type=FrameType.REQUEST, flags=Flags.REMOTE_CLOSED, data=b"request"),
    Frame(stream_id=3, type=FrameType.RESPONSE),
    Frame(stream_id=1, type=FrameType.DATA, flags=Flags.REMOTE_CLOSED | Flags.NO_DATA),
    Frame(stream_id=0xFFFFFFFF, type=FrameType.DATA, data=bytes(70_000)),
]


def test_the_header_is_ten_bytes_in_network_order() -> None:
    assert Frame(stream_id=0x0102, type=FrameType.DATA, flags=5, data=b"ab").encode() == bytes(
        [0, 0, 0, 2, 0, 0, 1, 2, 3, 5, 0x61, 0x62]
    )


@pytest.mark.parametrize("size", [1, 7, 10, 11, 1 << 20])
def test_frames_come_out_whole_however_the_bytes_were_cut(size: int) -> None:
    stream = b"".join(frame.encode() for frame in FRAMES)
    reader = FrameReader()
    pieces = (stream[at : at + size] for at in range(0, len(stream), size))
    assert [frame for piece in pieces for frame in reader.feed(piece)] == FRAMES


def test_a_frame_that_is_too_big_is_refused_before_its_data_is_read() -> None:
    with pytest.raises(FrameTooBig, match="stream 9"):
        FrameReader().feed(HEADER.pack(MAX_DATA + 1, 9, FrameType.REQUEST, 0))


def test_a_frame_of_the_greatest_size_is_read() -> None:
    (frame,) = FrameReader().feed(Frame(stream_id=1, type=FrameType.DATA, data=bytes(MAX_DATA)).encode())
    assert len(frame.data) == MAX_DATA


def test_an_unknown_type_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="0x4 on stream 1"):
        FrameReader().feed(HEADER.pack(0, 1, 4, 0))


def test_a_frame_that_is_too_big_is_not_encoded() -> None:
    with pytest.raises(FrameTooBig):
        Frame(stream_id=1, type=FrameType.REQUEST, data=bytes(MAX_DATA + 1)).encode()
