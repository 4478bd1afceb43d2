"""Headers, trailers and messages of gRPC, read back by a decoder of another make."""

from __future__ import annotations

import hpack
import pytest

from cri.grpc import wire
from cri.grpc.codes import Code, Refused


def unpacked(block: bytes) -> dict[str, str]:
    decoder = hpack.Decoder()
    fields = dict(decoder.decode(block))
    assert len(decoder.header_table.dynamic_entries) == 0  # what we send stays in no table
    return {str(name): str(value) for name, value in fields.items()}


def test_a_response_begins_and_ends_as_grpc_wants_it() -> None:
    assert unpacked(wire.RESPONSE) == {":status": "200", "content-type": "application/grpc"}
    assert unpacked(wire.trailers(Code.OK, "")) == {"grpc-status": "0"}
    assert unpacked(wire.trailers(Code.NOT_FOUND, "")) == {"grpc-status": "5", "grpc-message": ""}


def test_messages_of_errors_are_percent_encoded_and_cut() -> None:
    assert unpacked(wire.trailers(Code.INTERNAL, "100 % ä\n"))["grpc-message"] == "100 %25 %C3%A4%0A"
    long = unpacked(wire.trailers(Code.INTERNAL, "ä" * 10_000))["grpc-message"]
    assert len(long) <= wire.MAX_TEXT
    assert set(long.split("%C3%A4")) == {""}
    assert unpacked(wire.trailers(Code.INTERNAL, "x" * 127))["grpc-message"] == "x" * 127


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9), ("99999999S", 99_999_999)]
    + [(wrong, None) for wrong in ("", "S", "-1S", "1", "1x", "1.5S", "999999999S", " 1S")],
)
def test_timeouts_have_units_and_nonsense_is_none(value: str, seconds: float | None) -> None:
    assert wire.timeout(value) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_messages_are_found_however_they_are_cut(size: int) -> None:
    body = wire.message(b"one") + wire.message(b"") + wire.message(b"three" * 100)
    reader = wire.MessageReader()
    found = [message for at in range(0, len(body), size) for message in reader.feed(body[at : at + size])]
    assert found == [b"one", b"", b"three" * 100]


def test_too_large_and_compressed_messages_are_refused_before_they_come() -> None:
    for prefix, code in ((b"\0\xff\0\0\0", Code.RESOURCE_EXHAUSTED), (b"\1\0\0\0\1", Code.UNIMPLEMENTED)):
        with pytest.raises(Refused) as caught:
            wire.MessageReader().feed(prefix)
        assert caught.value.code is code
