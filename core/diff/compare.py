"""Zygote job "compare": whether a snapshot still has what the layers that it was unpacked from have.

    args  {"layers": [path, …], "stacked": whether whiteouts are marks of overlayfs}
                                      the layer of an overlay alone; of a copy all, from the lowest up
    fds   the snapshot's directory
    →     {"problems": ["etc/passwd: missing", …] at most MAX_TOLD, "count": how many there are}

Type, size, owner, permissions and bytes are compared, and whether whiteouts are there; not times and attributes, nor
files that no layer has. As job "unpack" the process reads nothing before the snapshot is its root, and it writes
nothing at all. Raises DataLoss, InvalidArgument (not the layer that was unpacked), ResourceExhausted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from core.diff import names
from core.diff.compression import decompress
from core.diff.directories import OVERLAY_OPAQUE, is_whiteout
from core.diff.readahead import ReadAhead
from core.diff.source import File
from core.diff.tar import Entry, TarReader, Type
from core.diff.unpack import enter
from core.diff.whiteouts import Mode
from core.errdefs import ResourceExhausted

MAX_TOLD = 20  # problems: enough to see what it is; repair makes the layer anew
MAX_KEPT = 100_000  # problems that a later entry may explain, some 200 bytes each

_FORMATS = {
    Type.REGULAR: stat.S_IFREG,
    Type.DIRECTORY: stat.S_IFDIR,
    Type.SYMLINK: stat.S_IFLNK,
    Type.CHAR: stat.S_IFCHR,
    Type.BLOCK: stat.S_IFBLK,
    Type.FIFO: stat.S_IFIFO,
}


def run_job(args: Mapping[str, Any], fds: Sequence[int], report: Callable[..., object] | None = None) -> dict[str, Any]:
    """The job; this process has nothing else to do afterwards."""
    layers = [File(os.open(layer, os.O_RDONLY)) for layer in args["layers"]]
    enter(fds[0], Mode.STACKED)
    comparison = Comparison(is_stacked=args["stacked"])
    for layer in layers:
        with ReadAhead(partial(decompress, layer)) as pull:
            comparison.add(TarReader(pull))
    return {"problems": comparison.told(), "count": len(comparison.problems)}


class Comparison:
    """Of layers, from the lowest up, with the process's root directory.

    Of several entries for one path the last one counts, so a problem is one until something later explains it.
    """

    def __init__(self, *, is_stacked: bool) -> None:
        self._is_stacked = is_stacked
        self.problems: dict[bytes, str] = {}
        """By path."""

    def add(self, layer: TarReader) -> None:
        for entry in layer:
            parts = names.parts(entry.name)
            if not parts:
                continue
            *above, name = parts
            if names.WHITEOUT in entry.name and self._is_mark(above, name):
                continue
            path = b"/".join(parts)
            if entry.type is not Type.DIRECTORY:
                self._forget_below(path)
            self._note(path, _difference(b"/" + path, entry, layer.data()))

    def told(self) -> list[str]:
        paths = sorted(self.problems)[:MAX_TOLD]
        return [f"{os.fsdecode(path)!r}: {self.problems[path]}" for path in paths]

    def _is_mark(self, above: list[bytes], name: bytes) -> bool:
        """Look for a whiteout's mark, or take for explained what it removed; True when the entry makes no file."""
        if name == names.OPAQUE:
            self._opaque(b"/".join(above))
            return True
        if any(part.startswith(names.AUFS) for part in (*above, name)):
            return True
        if not name.startswith(names.WHITEOUT):
            return False
        path = b"/".join((*above, name.removeprefix(names.WHITEOUT)))
        if self._is_stacked:
            self._note(path, _lost_whiteout(b"/" + path))
        else:
            self._note(path, "")
            self._forget_below(path)
        return True

    def _opaque(self, path: bytes) -> None:
        if not self._is_stacked:
            self._forget_below(path)
        elif not _is_opaque(b"/" + path):
            self._note(path, "what it hides of lower layers shows")

    def _note(self, path: bytes, problem: str) -> None:
        if problem:
            self.problems[path] = problem
            if len(self.problems) > MAX_KEPT:
                raise ResourceExhausted(f"more than {MAX_KEPT} files differ from the layer")
        else:
            self.problems.pop(path, None)

    def _forget_below(self, path: bytes) -> None:
        if self.problems:
            prefix = path + b"/" if path else b""
            for inner in [one for one in self.problems if one.startswith(prefix)]:
                del self.problems[inner]


def _difference(path: bytes, entry: Entry, data: Iterator[memoryview]) -> str:
    """What is wrong with the file that `entry` made, "" when nothing is."""
    try:
        status = os.lstat(path)
        if entry.type is Type.LINK:  # its target's own entry says what it is; of a lower layer's it is a copy
            return "a directory, and not a file" if stat.S_ISDIR(status.st_mode) else ""
        if (wrong := _wrong_status(status, entry)) or entry.type is not Type.REGULAR:
            return wrong or _wrong_target(path, entry)
        return "" if _has_bytes(path, data) else "other bytes"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"


def _wrong_status(status: os.stat_result, entry: Entry) -> str:
    if stat.S_IFMT(status.st_mode) != _FORMATS[entry.type]:
        return f"a {stat.filemode(status.st_mode)[0]!r}, and not {entry.type.name.lower()}"
    if entry.type is Type.REGULAR and status.st_size != entry.size:
        return f"{status.st_size} bytes, and not {entry.size}"
    if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        return f"of {status.st_uid}:{status.st_gid}, and not {entry.uid}:{entry.gid}"
    mode = stat.S_IMODE(status.st_mode)
    if entry.type is not Type.SYMLINK and mode != entry.mode:
        return f"mode {mode:o}, and not {entry.mode:o}"
    return ""


def _wrong_target(path: bytes, entry: Entry) -> str:
    return "leads elsewhere" if entry.type is Type.SYMLINK and os.readlink(path) != entry.linkname else ""


def _has_bytes(path: bytes, data: Iterator[memoryview]) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return all(os.read(fd, len(piece)) == piece for piece in data)
    finally:
        os.close(fd)


def _lost_whiteout(path: bytes) -> str:
    """The layer's own file at `path` hides what is below as well."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "what it hides of lower layers shows"
    return "" if is_whiteout(status) or not stat.S_ISDIR(status.st_mode) or _is_opaque(path) else "not opaque"


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, OVERLAY_OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False
