"""inotify(7); numbers from linux/inotify.h."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

from core.linux.libc import check, function

IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000

IN_CLOEXEC = os.O_CLOEXEC
IN_NONBLOCK = os.O_NONBLOCK

_EVENT = struct.Struct("=iIII")  # struct inotify_event: wd, mask, cookie, length of the name that follows

_init1 = function("inotify_init1", ctypes.c_int)
_add_watch = function("inotify_add_watch", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_rm_watch = function("inotify_rm_watch", ctypes.c_int, ctypes.c_int)


def inotify_init1(flags: int = IN_CLOEXEC) -> int:
    """A descriptor to read events from."""
    return check(_init1(flags), "inotify_init1")


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """The watch of `path`: a new one, or the old one of the same inode with its mask replaced."""
    return check(_add_watch(fd, os.fsencode(path), mask), "inotify_add_watch", path)


def inotify_rm_watch(fd: int, wd: int) -> None:
    check(_rm_watch(fd, wd), "inotify_rm_watch")


def masks(events: bytes) -> Iterator[int]:
    """The masks of what was read from the descriptor."""
    offset = 0
    while offset < len(events):
        _, mask, _, length = _EVENT.unpack_from(events, offset)
        yield mask
        offset += _EVENT.size + length
