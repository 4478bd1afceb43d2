"""Reading files whose size and kind somebody else decides."""

from __future__ import annotations

import os
import stat

from core.errdefs import InvalidArgument, ResourceExhausted
from core.linux.openat2 import open_in_root

# A FIFO or a tty in the place of a file must neither block us nor become our terminal.
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def read_limited(path: str, limit: int, *, root: str = "") -> bytes:
    """The content of a regular file; with `root`, of the file that a process chrooted there would find at `path`.

    Raises ResourceExhausted above `limit` bytes, InvalidArgument for anything but a regular file, and OSError.
    """
    fd = _open_below(root, path) if root else os.open(path, _OPEN)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidArgument(f"{path}: not a regular file")
        return _read(fd, path, limit)
    finally:
        os.close(fd)


def _open_below(root: str, path: str) -> int:
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_in_root(root_fd, path, _OPEN)
    finally:
        os.close(root_fd)


def _read(fd: int, path: str, limit: int) -> bytes:
    parts = []
    left = limit + 1
    while left and (part := os.read(fd, left)):
        parts.append(part)
        left -= len(part)
    if not left:
        raise ResourceExhausted(f"{path}: more than {limit} bytes")
    return b"".join(parts)
