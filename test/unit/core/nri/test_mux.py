import pytest

from core.nri.mux import FIRST_PIECE, HEADER, MAX_PIECE, PLUGIN, RUNTIME, BadPiece, PieceReader, pieces


def test_bytes_come_out_as_they_went_in_however_they_are_cut() -> None:
    sent = [(PLUGIN, b"a" * 10), (RUNTIME, b"b" * 5000), (PLUGIN, b"c")]
    stream = b"".join(pieces(number, data) for number, data in sent)
    for size in (1, 7, 4096, len(stream)):
        reader, got = PieceReader(), {PLUGIN: b"", RUNTIME: b""}
        for start in range(0, len(stream), size):
            for number, part in reader.feed(stream[start : start + size]):
                got[number] += part
        assert got == {PLUGIN: b"a" * 10 + b"c", RUNTIME: b"b" * 5000}


def test_a_frame_goes_in_pieces_that_a_go_plugin_can_read() -> None:
    """The first fits its buffer, the rest is one: its queue is short."""
    data = pieces(PLUGIN, bytes(1 << 20))
    assert HEADER.unpack_from(data) == (PLUGIN, FIRST_PIECE)
    assert HEADER.unpack_from(data, HEADER.size + FIRST_PIECE) == (PLUGIN, (1 << 20) - FIRST_PIECE)
    assert len(data) == (1 << 20) + 2 * HEADER.size
    assert len(pieces(PLUGIN, bytes(FIRST_PIECE))) == FIRST_PIECE + HEADER.size


def test_a_piece_that_is_too_big_is_refused_before_it_comes() -> None:
    with pytest.raises(BadPiece):
        PieceReader().feed(HEADER.pack(PLUGIN, MAX_PIECE + 1))


def test_an_unfinished_piece_is_passed_on_and_not_kept() -> None:
    reader = PieceReader()
    assert reader.feed(HEADER.pack(PLUGIN, MAX_PIECE) + b"x" * 100) == [(PLUGIN, b"x" * 100)]
    assert reader.feed(b"y" * 100) == [(PLUGIN, b"y" * 100)]


def test_an_empty_piece_is_nothing() -> None:
    assert PieceReader().feed(HEADER.pack(PLUGIN, 0) + HEADER.pack(RUNTIME, 1) + b"x") == [(RUNTIME, b"x")]
