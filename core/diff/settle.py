"""Zygote job "settle": finish a layer that leans on the ones below it, once those are committed.

    args  {"lowers": [directory, …]}       Snapshotter.lowers(parent): the topmost first
    fds   the layer's own directory
    →     {"size": bytes, "inodes": count}  what this added to the layer

Layers unpack at the same time and each alone, so job "unpack" leaves marks where it would have had to look below:

    IMPLICIT    a directory that the layer uses but does not describe: it takes owner, mode, times and attributes from
                the directory that it covers, or else /tmp would lose its sticky bit
    LOWER_LINK  a hard link to a file of a lower layer: it becomes a copy of that file, which is what overlayfs would
                make of it as well, except that the lower name stays a file of its own

What a crash leaves is not committed; its owner unpacks it anew. Raises InvalidArgument when a link has no target.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from core.diff import names
from core.diff.apply import BLOCK, LOWER_LINK
from core.diff.directories import IMPLICIT, OVERLAY_OPAQUE
from core.diff.refusals import refusals
from core.diff.unpack import enter
from core.diff.whiteouts import Mode
from core.errdefs import InvalidArgument
from core.snapshots.copy import copy_attributes, copy_data

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def run_job(args: Mapping[str, Any], fds: Sequence[int], report: Callable[..., object] | None = None) -> dict[str, Any]:
    """The job; this process has nothing else to do afterwards."""
    lowers = [os.open(lower, _DIRECTORY) for lower in args["lowers"]]
    enter(fds[0], Mode.STACKED)
    return settle(lowers)


def settle(lowers: Sequence[int]) -> dict[str, Any]:
    """Finish the layer that is this process's root and working directory, on top of open directories `lowers`."""
    copies: dict[bytes, bytes] = {}  # by target: several links to one lower file share one copy
    blocks = 0
    for path, is_directory in _marked():
        with refusals(path):
            if is_directory:
                _cover(path, lowers)
            else:
                blocks += _replace(path, lowers, copies)
    return {"size": blocks * BLOCK, "inodes": len(copies)}


def _marked() -> Iterator[tuple[bytes, bool]]:
    """Paths with a mark, and whether it is a directory's."""
    pending = [b"."]
    while pending:
        path = pending.pop()
        with os.scandir(path) as entries:
            found = [(entry.path, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in entries]
        for inner, is_directory, is_symlink in found:
            if is_directory:
                pending.append(inner)
            if (is_directory or is_symlink) and _has(inner, IMPLICIT if is_directory else LOWER_LINK):
                yield inner, is_directory


def _has(path: bytes | int, attribute: str) -> bool:
    with contextlib.suppress(OSError):
        os.getxattr(path, attribute, follow_symlinks=isinstance(path, int))
        return True
    return False


@contextlib.contextmanager
def _merged(lowers: Sequence[int], parts: Sequence[bytes]) -> Iterator[Sequence[int]]:
    """Open the directories that overlayfs would merge at `parts` with only `lowers`, the topmost first."""
    here: Sequence[int] = tuple(map(os.dup, lowers))
    try:
        for part in parts:
            inner = _step(here, part)
            _close(here)
            here = inner
        yield here
    finally:
        _close(here)


def _step(here: Sequence[int], part: bytes) -> list[int]:
    merged: list[int] = []
    for lower in here:
        try:
            merged.append(os.open(part, _DIRECTORY, dir_fd=lower))
        except FileNotFoundError:
            continue
        except OSError:  # a file, a link or a whiteout: it hides what is below
            break
        if _has(merged[-1], OVERLAY_OPAQUE):
            break
    return merged


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def _cover(path: bytes, lowers: Sequence[int]) -> None:
    """Give directory `path` the attributes of the one that it covers, if there is one, and take its mark off."""
    fd = os.open(path, _DIRECTORY)
    try:
        with _merged(lowers, names.parts(path)) as here:
            if here:
                copy_attributes(here[0], fd)
        os.removexattr(fd, IMPLICIT)
    finally:
        os.close(fd)


def _replace(path: bytes, lowers: Sequence[int], copies: dict[bytes, bytes]) -> int:
    """Replace the mark at `path` by what it stands for; return the blocks that took. Raises InvalidArgument."""
    target = os.readlink(path)
    os.unlink(path)
    if target in copies:
        os.link(copies[target], path, follow_symlinks=False)
        return 0
    copies[target] = path
    return _copy(lowers, target, path)


def _copy(lowers: Sequence[int], target: bytes, path: bytes) -> int:
    """Make `path` a copy of the lower file `target`; return its size in blocks. Raises InvalidArgument."""
    source = _open_file(lowers, target)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            copy_data(source, fd)
            copy_attributes(source, fd)
            return -(-os.fstat(fd).st_size // BLOCK)
        finally:
            os.close(fd)
    finally:
        os.close(source)


def _open_file(lowers: Sequence[int], target: bytes) -> int:
    """Open the regular file that shows at `target`. Raises InvalidArgument."""
    *parents, name = names.parts(target) or [b"."]
    with _merged(lowers, parents) as here:
        for lower in here:
            try:
                status = os.stat(name, dir_fd=lower, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode):
                break
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=lower)
    raise InvalidArgument(f"hard link to {target[:160]!r}, which is no regular file in this or a lower layer")
