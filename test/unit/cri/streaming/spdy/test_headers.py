from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.streaming.spdy.frames import ProtocolError, TooBig
from cri.streaming.spdy.headers import DICTIONARY, MAX_BLOCK, MAX_HEADERS, HeaderReader, HeaderWriter, parse


def deflated(plain: bytes) -> bytes:
    writer = zlib.compressobj(zdict=DICTIONARY)
    return writer.compress(plain) + writer.flush(zlib.Z_SYNC_FLUSH)


def test_the_dictionary_is_the_one_that_every_client_has() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2  # in the zlib header of every SPDY/3 session


def test_blocks_are_read_in_the_order_in_which_they_were_written() -> None:
    writer, reader = HeaderWriter(), HeaderReader()
    for headers in ({"streamtype": "error", "port": "80"}, {}, {"streamtype": "data", "port": "80"}):
        assert reader.read(writer.write(headers)) == headers


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = deflated(b"\0" * (64 << 20))[: 16 << 10]
    tracemalloc.start()
    try:
        with pytest.raises(TooBig):
            HeaderReader().read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("over", [0, 1, 5])
def test_a_block_at_the_limit_is_refused_to_the_byte(over: int) -> None:
    name = struct.pack(">II", 1, 1) + b"a"
    value = b"x" * (MAX_BLOCK - len(name) - 4 - 1 + over)
    block = deflated(name + struct.pack(">I", len(value)) + value)
    if over:
        with pytest.raises(TooBig):
            HeaderReader().read(block)
    else:
        assert HeaderReader().read(block)["a"] == value.decode()


def test_a_count_that_is_a_lie_is_refused() -> None:
    with pytest.raises(TooBig):
        parse(struct.pack(">I", 1 << 31))
    with pytest.raises(ProtocolError):
        parse(struct.pack(">I", MAX_HEADERS))


def test_a_length_that_is_a_lie_is_refused() -> None:
    with pytest.raises(ProtocolError):
        parse(struct.pack(">II", 1, 1 << 31) + b"abc")


@pytest.mark.parametrize("names", [("Upper",), ("",), ("twice", "twice")])
def test_header_names_are_lower_case_and_unique(names: tuple[str, ...]) -> None:
    pairs = b"".join(struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", 0) for name in names)
    with pytest.raises(ProtocolError):
        parse(struct.pack(">I", len(names)) + pairs)


def test_a_compression_that_ends_is_refused() -> None:
    writer = zlib.compressobj(zdict=DICTIONARY)
    block = writer.compress(struct.pack(">I", 0)) + writer.flush(zlib.Z_FINISH)
    with pytest.raises(ProtocolError):
        HeaderReader().read(block + b"more")


@given(st.binary(max_size=300))
def test_any_bytes_are_headers_or_a_protocol_error(block: bytes) -> None:
    for read in (HeaderReader().read, parse):
        with contextlib.suppress(ProtocolError):
            read(block)
