import gzip
import io
import os
import threading

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from core.diff.compression import PIECE, decompress
from core.diff.readahead import ReadAhead
from core.diff.source import GrowingFile
from core.errdefs import DataLoss

DATA = os.urandom(300_000) + bytes(5_000_000)


class Slow(io.BytesIO):
    """Hands out a few bytes at a time, whatever is asked."""

    def read(self, size=-1, /):
        return super().read(min(size, 1000) if size > 0 else 1000)


@pytest.mark.parametrize("source", [io.BytesIO, Slow])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_every_format_yields_the_data_in_bounded_pieces(compress, source):
    pieces = list(decompress(source(compress(DATA))))
    assert b"".join(pieces) == DATA
    assert max(map(len, pieces)) <= PIECE


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_cut_at_any_byte_of_the_last_part_is_data_loss(compress):
    blob = compress(b"some data " * 50)
    for length in range(5, len(blob)):
        with pytest.raises(DataLoss):
            list(decompress(io.BytesIO(blob[:length])))


def test_a_bomb_comes_in_bounded_pieces():
    bomb = zstandard.compress(bytes(200 << 20))
    assert len(bomb) < 20_000
    assert max(len(piece) for piece in decompress(io.BytesIO(bomb))) <= PIECE


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from([gzip.compress, zstandard.compress]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255))),
)
def test_a_damaged_stream_raises_only_data_loss(compress, damage):
    blob = bytearray(compress(os.urandom(200) + bytes(2000)))
    for at, value in damage:
        blob[at % len(blob)] = value
    try:
        for _ in decompress(io.BytesIO(bytes(blob))):
            pass
    except DataLoss:
        pass


def test_a_growing_file_is_read_as_far_as_it_was_vouched_for(tmp_path):
    path = tmp_path / "ingest"
    path.write_bytes(b"0123456789")
    offsets, announce = os.pipe()
    with open(path, "rb") as ingest:
        growing = GrowingFile(ingest.fileno(), offsets)
        os.write(announce, (2).to_bytes(8, "little") + (4).to_bytes(8, "little")[:5])
        assert growing.read(100) == b"01"
        os.write(announce, (4).to_bytes(8, "little")[5:])
        assert growing.read(1) == b"2"
        assert growing.read(100) == b"3"
        os.close(announce)
        assert growing.read(100) == b""
    os.close(offsets)


def test_reading_ahead_says_the_end_and_an_error_again_and_again():
    with ReadAhead(lambda: iter([b"a", b"b"])) as pull:
        assert [pull(), pull(), pull(), pull()] == [b"a", b"b", b"", b""]

    def broken():
        yield b"a"
        raise DataLoss("broken")

    with ReadAhead(broken) as pull:
        assert pull() == b"a"
        for _ in range(2):
            with pytest.raises(DataLoss, match="broken"):
                pull()


def test_leaving_the_block_ends_the_thread():
    with ReadAhead(lambda: iter([b"x"] * 1000)) as pull:
        pull()
        thread = next(thread for thread in threading.enumerate() if thread.name == "decompress")
    thread.join(timeout=10)
    assert not thread.is_alive()
