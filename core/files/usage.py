"""How much disk a tree takes."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

_BLOCK = 512  # bytes; unit of st_blocks, man 3 stat
_MAX_PATH = 3800  # bytes of a path below an open directory, which with one more name (255) stays below PATH_MAX
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_PAUSE_EVERY = 1024  # files, some 3 ms
_STAY = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    size: int
    """Bytes of allocated blocks, as du(1) counts them."""
    inodes: int


class _Anchor:
    """An open directory from which deeper ones are opened; closed with the last of them that waits to be counted."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


def disk_usage(path: str, pause: Callable[[], None] = lambda: None) -> DiskUsage:
    """Count `path` and all below it on the same filesystem, a file with several links once.

    `pause` is called now and then: it may wait, or end it all by raising.

    The tree may change meanwhile, even by somebody hostile: what vanishes is not counted and no link is followed.
    Raises OSError when `path` itself is absent.
    """
    anchor = _Anchor(os.open(path, _OPEN | os.O_CLOEXEC))
    root = os.fstat(anchor.fd)
    linked: set[int] = set()
    blocks, inodes = root.st_blocks, 1
    for status in _walk(anchor):
        if status.st_dev != root.st_dev or status.st_ino in linked:
            continue
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            linked.add(status.st_ino)
        blocks += status.st_blocks
        inodes += 1
        if inodes % _PAUSE_EVERY == 0:
            pause()
    return DiskUsage(size=blocks * _BLOCK, inodes=inodes)


def _walk(root: _Anchor) -> Iterator[os.stat_result]:
    """The status of everything below `root`, depth first."""
    pending = [(root, ".")]
    while pending:
        anchor, path = pending.pop()
        try:
            fd = openat2(anchor.fd, path, _OPEN, 0, _STAY)
        except OSError:  # gone, or another filesystem is mounted there
            continue
        if len(os.fsencode(path)) > _MAX_PATH:
            anchor, path = _Anchor(os.dup(fd)), "."
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((anchor, f"{path}/{entry.name}"))
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.stat(follow_symlinks=False)
        finally:
            os.close(fd)
