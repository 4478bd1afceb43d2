"""What registries, users and administrators hand to the parsers of images: documented exceptions only.

The corpus beside this file has one of each kind that once mattered; `hypothesis` changes it. `EXAMPLES=100000` makes a
long run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.diff.tar import BLOCK, TarReader, Type
from core.errdefs import DataLoss, FailedPrecondition, InvalidArgument, Unimplemented
from core.oci.image import OCI_INDEX, OCI_MANIFEST, parse_config, parse_manifest
from core.remotes.challenge import parse_challenges
from core.remotes.hosts import load_hosts
from core.remotes.reference import Reference

CORPUS = Path(__file__).with_name("corpus")
EXAMPLES = int(os.environ.get("EXAMPLES", "200"))
CHECKSUM = slice(148, 156)


def reference(data: bytes) -> None:
    """What parses means the same when it is written out and parsed again."""
    with contextlib.suppress(InvalidArgument):
        parsed = Reference.parse(data.decode(errors="surrogateescape"))
        assert Reference.parse(str(parsed)) == parsed


def hosts(data: bytes, directory: Path) -> None:
    """No header can end its line, and no host is asked over anything but HTTP."""
    (directory / "any.example").mkdir(exist_ok=True)
    (directory / "any.example/hosts.toml").write_bytes(data)
    with contextlib.suppress(FailedPrecondition):
        for host in load_hosts(str(directory), "any.example"):
            assert host.base.scheme in ("http", "https")
            assert not any(forbidden in text for pair in host.header for text in pair for forbidden in "\r\n\0")


def challenge(data: bytes) -> None:
    for one in parse_challenges([data.decode("latin-1")]):
        assert one.scheme == one.scheme.lower()


def document(data: bytes) -> None:
    for parse in (lambda: parse_manifest(data, OCI_MANIFEST), lambda: parse_manifest(data, OCI_INDEX)):
        with contextlib.suppress(InvalidArgument, Unimplemented):
            assert parse().raw == data
    with contextlib.suppress(InvalidArgument):
        parse_config(data)


def tar(data: bytes) -> None:
    """However the bytes are cut, the entries are the same. Headers have a right checksum, or nothing else is tried."""
    wire = bytearray(data)
    for at in range(0, len(wire) - BLOCK + 1, BLOCK):
        header = wire[at : at + BLOCK]
        if any(header):
            header[CHECKSUM] = b" " * 8
            wire[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    assert entries(bytes(wire), len(wire) or 1) == entries(bytes(wire), 700)


def entries(wire: bytes, size: int) -> tuple[list[tuple[bytes, Type, bytes]], str]:
    pieces = (wire[at : at + size] for at in range(0, len(wire), size))
    reader, found = TarReader(lambda: next(pieces, b"")), []
    try:
        for entry in reader:
            found.append((entry.name, entry.type, b"".join(map(bytes, reader.data()))))
    except (DataLoss, InvalidArgument) as exc:
        return found, type(exc).__name__
    return found, ""


PARSERS: dict[str, Callable[..., None]] = {
    "reference": reference,
    "hosts": hosts,
    "challenge": challenge,
    "document": document,
    "tar": tar,
}


def corpus(kind: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / kind).iterdir())]


@st.composite
def mutated(draw: st.DrawFn, kind: str) -> bytes:
    """A file of the corpus with some bytes replaced, removed or added, or some of another one's."""
    files = corpus(kind)
    wire = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(wire)))
        other = draw(st.sampled_from(files))
        start = draw(st.integers(0, len(other)))
        new = draw(st.binary(max_size=6) | st.just(other[start : start + 40]))
        wire[at : at + draw(st.integers(0, 6))] = new
    return bytes(wire)


@pytest.mark.parametrize("kind", PARSERS)
def test_whatever_comes_a_parser_raises_what_it_says(kind: str, tmp_path: Path) -> None:
    arguments = (tmp_path,) if kind == "hosts" else ()
    for data in corpus(kind):
        PARSERS[kind](data, *arguments)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(mutated(kind))
    def check(data: bytes) -> None:
        PARSERS[kind](data, *arguments)

    check()
