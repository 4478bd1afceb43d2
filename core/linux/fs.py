"""Calls on filesystems that `os` lacks."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from dataclasses import dataclass

from core.linux.libc import check, function

FALLOC_FL_KEEP_SIZE = 1

FS_TOPDIR_FL = 0x00020000  # linux/fs.h; chattr(1), "T"
_FS_IOC_GETFLAGS = 0x80086601  # of the 64-bit architectures; the argument is an int all the same
_FS_IOC_SETFLAGS = 0x40086602
_AT_FDCWD = -100  # linux/fcntl.h
_RENAME_EXCHANGE = 2  # linux/fs.h
_INT = struct.Struct("i")


class _Statfs(ctypes.Structure):
    """struct statfs of the 64-bit architectures, asm-generic/statfs.h."""

    _fields_ = [
        ("f_type", ctypes.c_long),
        ("f_bsize", ctypes.c_long),
        *((name, ctypes.c_uint64) for name in ("f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree")),
        ("f_fsid", ctypes.c_int * 2),
        ("f_namelen", ctypes.c_long),
        ("f_frsize", ctypes.c_long),
        ("f_flags", ctypes.c_long),
        ("f_spare", ctypes.c_long * 4),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statfs:
    """statfs(2); block counts are in units of `f_bsize` bytes."""

    f_type: int
    f_bsize: int
    f_blocks: int
    f_bfree: int
    f_bavail: int
    f_files: int
    f_ffree: int


_statfs = function("statfs", ctypes.c_char_p, ctypes.POINTER(_Statfs))
_syncfs = function("syncfs", ctypes.c_int)
_renameat2 = function(
    "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)
_fallocate = function("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def statfs(path: str) -> Statfs:
    buf = _Statfs()
    check(_statfs(os.fsencode(path), ctypes.byref(buf)), "statfs", path)
    return Statfs(
        f_type=buf.f_type,
        f_bsize=buf.f_bsize,
        f_blocks=buf.f_blocks,
        f_bfree=buf.f_bfree,
        f_bavail=buf.f_bavail,
        f_files=buf.f_files,
        f_ffree=buf.f_ffree,
    )


def syncfs(fd: int) -> None:
    """Write out the whole filesystem that `fd` is on."""
    check(_syncfs(fd), "syncfs")


def rename_exchange(one: str, other: str) -> None:
    """renameat2(2), RENAME_EXCHANGE: each gets the other's name, in one step."""
    check(_renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE), "renameat2", one)


def get_flags(fd: int) -> int:
    """The FS_*_FL of an inode. ENOTTY or EOPNOTSUPP where the filesystem has none."""
    (flags,) = _INT.unpack(fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(_INT.size)))
    return int(flags)


def set_flags(fd: int, flags: int) -> None:
    """Replace them all."""
    fcntl.ioctl(fd, _FS_IOC_SETFLAGS, _INT.pack(flags))


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Unlike `os.posix_fallocate` it never writes the blocks itself where the filesystem cannot reserve them."""
    check(_fallocate(fd, mode, offset, length), "fallocate")
