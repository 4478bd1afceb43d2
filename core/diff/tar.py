"""Tar archives, read as a stream: ustar, GNU long names and base-256 numbers, PAX (POSIX.1-2017, pax; GNU tar manual).

    reader = TarReader(pull)            # pull() returns the next bytes of the archive, b"" at its end
    for entry in reader:
        for piece in reader.data(): …   # optional: what was not read is skipped

No file and no path is touched here. Names are the archive's own bytes: whoever creates files checks them. Memory is
bounded by MAX_PAX, MAX_NAME and the size of the pulled pieces, whatever the archive says.

Things that don't work: the standard library's tarfile. Its parser keeps meeting denials of service; it decodes names.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from core.diff import pax
from core.errdefs import DataLoss, InvalidArgument

BLOCK = 512
MAX_NAME = 4095  # bytes of a path or link target: Linux PATH_MAX without its NUL
MAX_SIZE = (1 << 63) - 1  # bytes of one file: off_t
MAX_EXTENSIONS = 8  # extended headers before one entry: writers need 2 (K and L, or g and x); each may take MAX_PAX

_HEADER = struct.Struct("100s8s8s8s12s12s8x1s100s6s66x8s8s155s12x")
_ZERO = bytes(BLOCK)
_XATTR = b"SCHILY.xattr."
_NO_XATTRS: Mapping[bytes, bytes] = MappingProxyType({})


class Type(enum.Enum):
    REGULAR = b"0"
    LINK = b"1"
    SYMLINK = b"2"
    CHAR = b"3"
    BLOCK = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


_TYPES = {kind.value: kind for kind in Type} | {b"\0": Type.REGULAR, b"7": Type.REGULAR}  # 7: contiguous file


@dataclass(slots=True, kw_only=True)  # not frozen: that would triple the cost of an object made 20,000 times a layer
class Entry:
    name: bytes
    type: Type
    mode: int
    """Permission bits with setuid, setgid and sticky."""
    uid: int
    gid: int
    size: int
    """Bytes of data that follow; 0 for all but regular files."""
    mtime: int
    """Nanoseconds since the epoch."""
    linkname: bytes
    major: int
    minor: int
    xattrs: Mapping[bytes, bytes]


class TarReader:
    """Iterates over the entries of one archive, once; raises DataLoss (damaged) and InvalidArgument (refused)."""

    def __init__(self, pull: Callable[[], bytes]) -> None:
        self._pull = pull
        self._piece = b""
        self._at = 0  # in _piece
        self._left = 0  # bytes of the current entry's data that nobody read
        self._padding = 0  # bytes after the data, up to the next block

    def __iter__(self) -> Iterator[Entry]:
        extended: dict[bytes, bytes] = {}
        extensions = 0
        while (header := self._next_header()) is not None:
            flag = header[156:157]
            if flag in (b"x", b"g", b"L", b"K"):
                # A global header ("g") carries a comment in practice (git archive); like Go we read past it.
                _check(header)
                extended |= self._extension(flag, _number(header[124:136], "size"))
                extensions += 1
                if extensions > MAX_EXTENSIONS:
                    raise DataLoss(f"tar: more than {MAX_EXTENSIONS} extended headers in a row")
                continue
            entry = _entry(header, extended)
            extended, extensions = {}, 0
            self._left, self._padding = entry.size, -entry.size % BLOCK
            yield entry

    def data(self) -> Iterator[memoryview]:
        """The current entry's data, in pieces as they were pulled."""
        while self._left:
            if self._at == len(self._piece):
                self._fill()
            piece = memoryview(self._piece)[self._at : self._at + self._left]
            self._at += len(piece)
            self._left -= len(piece)
            yield piece

    def drain(self) -> None:
        """Pull to the end of the stream: what follows the archive's end mark belongs to its digest too."""
        self._at = len(self._piece)
        while self._pull():
            pass

    def _next_header(self) -> bytes | None:
        for _ in self.data():
            pass
        self._skip(self._padding)
        header = self._read(BLOCK, at_end=True)
        return None if not header or header == _ZERO else header

    def _extension(self, flag: bytes, size: int) -> dict[bytes, bytes]:
        if size > pax.MAX_PAX:
            raise DataLoss(f"tar: extended header of {size} bytes, limit {pax.MAX_PAX}")
        data = self._read(size)
        self._padding = -size % BLOCK
        if flag == b"g":
            return {}
        if flag == b"x":
            return pax.parse(data)
        return {b"path" if flag == b"L" else b"linkpath": data.partition(b"\0")[0]}

    def _fill(self) -> None:
        self._piece, self._at = self._pull(), 0
        if not self._piece:
            raise DataLoss("tar: the archive ends in the middle of an entry")

    def _skip(self, count: int) -> None:
        self._at += count
        while self._at > len(self._piece):
            over = self._at - len(self._piece)
            self._fill()
            self._at = over

    def _read(self, count: int, *, at_end: bool = False) -> bytes:
        """Exactly `count` bytes, or b"" when `at_end` is allowed and nothing is left. Raises DataLoss."""
        data = self._piece[self._at : self._at + count]
        self._at += len(data)
        while len(data) < count:
            self._piece, self._at = self._pull(), 0
            if not self._piece:
                if at_end and not data:
                    return b""
                raise DataLoss("tar: the archive ends in the middle of an entry")
            self._at = min(count - len(data), len(self._piece))
            data += self._piece[: self._at]
        return data


def _entry(header: bytes, extended: dict[bytes, bytes]) -> Entry:
    """Raises DataLoss, InvalidArgument (a type that we do not unpack)."""
    _check(header)
    name, mode, uid, gid, size, mtime, flag, link, magic, major, minor, prefix = _HEADER.unpack(header)
    kind = _TYPES.get(flag)
    name = _text(name)
    if magic == b"ustar\0" and prefix[0]:  # GNU's magic, "ustar ", puts other things where the prefix is
        name = _text(prefix) + b"/" + name
    if kind is None or _is_sparse(extended):
        raise InvalidArgument(f"layer entry {name[:160]!r}: type {flag!r} (sparse and vendor types) is not supported")
    if flag == b"\0" and (extended.get(b"path") or name)[-1:] == b"/":
        kind = Type.DIRECTORY  # V7 tar had no type for them
    device = kind is Type.CHAR or kind is Type.BLOCK
    entry = Entry(
        name=name,
        type=kind,
        mode=_number(mode, "mode") & 0o7777,
        uid=_number(uid, "uid"),
        gid=_number(gid, "gid"),
        size=_number(size, "size") if kind is Type.REGULAR else 0,
        mtime=_number(mtime, "mtime", signed=True) * 10**9,
        linkname=_text(link),
        major=_number(major, "device") if device else 0,
        minor=_number(minor, "device") if device else 0,
        xattrs=_NO_XATTRS,
    )
    if extended:
        _extend(entry, extended)
    if not entry.name or len(entry.name) > MAX_NAME or len(entry.linkname) > MAX_NAME:
        raise InvalidArgument(f"layer entry {entry.name[:160]!r}: names have 1 to {MAX_NAME} bytes")
    if entry.size > MAX_SIZE:
        raise DataLoss(f"tar: {entry.name[:160]!r} claims {entry.size} bytes")
    return entry


def _extend(entry: Entry, extended: dict[bytes, bytes]) -> None:
    """Let the extended header of `entry` override it. Raises DataLoss."""
    entry.name = extended.get(b"path") or entry.name
    entry.linkname = extended.get(b"linkpath") or entry.linkname
    entry.uid = pax.integer(extended, b"uid", entry.uid)
    entry.gid = pax.integer(extended, b"gid", entry.gid)
    entry.mtime = pax.nanoseconds(extended, b"mtime", entry.mtime)
    if entry.type is Type.REGULAR:
        entry.size = pax.integer(extended, b"size", entry.size)
    entry.xattrs = {key[len(_XATTR) :]: value for key, value in extended.items() if key.startswith(_XATTR)}


def _is_sparse(extended: dict[bytes, bytes]) -> bool:
    return any(key.startswith(b"GNU.sparse.") for key in extended)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, what: str, *, signed: bool = False) -> int:
    """An octal or GNU base-256 header field. Raises DataLoss, also for a negative one unless `signed`."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") - (1 << (8 * len(field) - 1))
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
    else:
        text = field.partition(b"\0")[0].strip(b" ")
        if not text:
            return 0
        try:
            value = int(text, 8) if text.isdigit() else -1  # isdigit: int() takes "1_0" and "+1"
        except ValueError:  # 8 or 9
            value = -1
        signed = False
    if not -MAX_SIZE <= value <= MAX_SIZE or (value < 0 and not signed):
        raise DataLoss(f"tar: {what} {field!r} is not a number in range")
    return value


def _check(header: bytes) -> None:
    """Compare the sum of all bytes, its own field taken as blanks; old tars summed signed bytes. Raises DataLoss."""
    want = _number(header[148:156], "checksum")
    total = sum(header) - sum(header[148:156]) + 8 * 32
    if total != want and total - 256 * sum(byte > 127 for byte in header[:148] + header[156:]) != want:
        raise DataLoss("tar: header checksum mismatch")
