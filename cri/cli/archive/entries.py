"""An archive of images, entry by entry, in bounded memory: nothing in it is believed, and nothing is extracted.

Only the order of bytes matters here; what they are is checked by digest where they are stored. Hazard CVE-2023-25153:
an archive can claim headers and documents of any size.
"""

from __future__ import annotations

import contextlib
import gzip
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol

import click

MAX_ENTRIES = 20_000  # an image has at most 500 layers, with three files each in the oldest format
MAX_HEADERS = 256 << 10  # bytes before one entry: the longest names, and more attributes than any tool writes
MAX_DOCUMENT = 4 << 20  # bytes of index.json and manifest.json: what registries accept of a manifest
_GZIP = b"\x1f\x8b"


class BadArchive(click.ClickException):
    """It is no archive of images, or wants more than a good one does."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A regular file, to be read before the next one, or a link."""

    name: str
    size: int
    link: str
    """Name of the entry that a link stands for; "" for a file."""
    file: Readable

    def read(self, size: int, /) -> bytes:
        """As of a file. Raises BadArchive."""
        with _damage():
            return self.file.read(size)

    def document(self) -> bytes:
        """Raises BadArchive also when it is larger than any such document."""
        if self.size > MAX_DOCUMENT:
            raise BadArchive(f"{self.name[:160]}: {self.size} bytes, more than {MAX_DOCUMENT}")
        return self.read(self.size)


def entries(file: IO[bytes]) -> Iterator[Entry]:
    """Files and links of a tar, which may be gzipped. Raises BadArchive."""
    with _damage():
        yield from _entries(_Metered(_plain(file)))


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """All that reading raises when the bytes are wrong."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError, RecursionError) as exc:
        raise BadArchive(f"no archive that can be read: {str(exc)[:300] or type(exc).__name__}") from exc


def _entries(metered: _Metered) -> Iterator[Entry]:
    metered.allow(MAX_HEADERS)
    with tarfile.open(fileobj=metered, mode="r|") as tar:  # type: ignore[call-overload]  # it only reads
        for count, member in enumerate(_members(tar, metered)):
            if count == MAX_ENTRIES:
                raise BadArchive(f"more than {MAX_ENTRIES} entries")
            tar.members = []  # or it keeps all that it has seen
            name = posixpath.normpath(member.name)
            if member.issparse():
                raise BadArchive(f"{name[:160]}: a sparse file, which no archive of images has")
            if member.isreg():
                opened = tar.extractfile(member)
                assert opened is not None  # of a regular file it never is
                yield Entry(name=name, size=member.size, link="", file=opened)
            elif member.issym():
                target = posixpath.join(posixpath.dirname(name), member.linkname)
                yield Entry(name=name, size=0, link=posixpath.normpath(target), file=metered)
            elif member.islnk():
                yield Entry(name=name, size=0, link=posixpath.normpath(member.linkname), file=metered)


def _members(tar: tarfile.TarFile, metered: _Metered) -> Iterator[tarfile.TarInfo]:
    while True:
        metered.allow(MAX_HEADERS)
        member = tar.next()
        if member is None:
            return
        metered.allow(None)
        yield member
        _skip(tar, member)


def _skip(tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Go past what nobody read of `member`, so that only headers are left for the next look."""
    stream = tar.fileobj
    assert stream is not None
    blocks, rest = divmod(member.size if member.isreg() else 0, tarfile.BLOCKSIZE)
    stream.seek(max(stream.tell(), member.offset_data + (blocks + bool(rest)) * tarfile.BLOCKSIZE))


def _plain(file: IO[bytes]) -> Readable:
    """`file` without its compression."""
    head = file.read(len(_GZIP))
    whole = _Again(head, file)
    return gzip.GzipFile(fileobj=whole, mode="rb") if head == _GZIP else whole  # type: ignore[call-overload]


class _Again:
    """A file whose first bytes have been read."""

    def __init__(self, head: bytes, file: IO[bytes]) -> None:
        self._head = head
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head  # fewer than asked for, as a pipe may give, too
        return self._file.read(size)


class _Metered:
    """Lets so much be read and no more."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._left: int | None = 0

    def allow(self, size: int | None) -> None:
        """From here on, in bytes; None for any number."""
        self._left = size

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise BadArchive(f"more than {MAX_HEADERS} bytes of headers before one entry")
        return data
