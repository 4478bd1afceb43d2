"""statx(2), for what it tells without asking a server; numbers from linux/stat.h."""

from __future__ import annotations

import ctypes

from core.linux.libc import check, function

AT_EMPTY_PATH = 0x1000
AT_STATX_DONT_SYNC = 0x4000
STATX_MNT_ID = 0x1000

_SIZE = 256  # bytes of struct statx
_DEV_MAJOR, _MNT_ID = 136, 144  # offsets in it

_statx = function("statx", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


def mount_of(fd: int) -> tuple[int, int]:
    """The id of the mount that `fd` is on, as in mountinfo (Linux 5.8), and the major number of its device: 0 where it
    is no block device."""
    buffer = ctypes.create_string_buffer(_SIZE)
    check(_statx(fd, b"", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, buffer), "statx")
    major = int.from_bytes(buffer.raw[_DEV_MAJOR : _DEV_MAJOR + 4], "little")
    return int.from_bytes(buffer.raw[_MNT_ID : _MNT_ID + 8], "little"), major
