"""openat2(2), Linux 5.6: paths that others wrote are resolved by the kernel inside a root (man 2 openat2)."""

from __future__ import annotations

import ctypes
import errno
import os

from core.linux.libc import check, syscall

RESOLVE_NO_XDEV = 0x1
RESOLVE_NO_MAGICLINKS = 0x2
RESOLVE_NO_SYMLINKS = 0x4
RESOLVE_BENEATH = 0x8
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20

_ATTEMPTS = 128  # EAGAIN means a rename or mount raced with a ".."; someone who loops on that must not hold us for ever


class _OpenHow(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


_openat2 = syscall(437, ctypes.c_long, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """O_CLOEXEC is added to `flags`, as everywhere in Python; `mode` must be 0 without O_CREAT or O_TMPFILE."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return check(_openat2(dirfd, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)), "openat2", path)


def open_in_root(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as if `root_fd` were "/": absolute links and ".." stay inside, magic links are refused (ELOOP).

    Raises BlockingIOError when somebody keeps renaming directories on the way.
    """
    return _retried(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def real_path(root: str, path: str, flags: int = 0) -> str:
    """Where `path` leads in the tree at `root`, as a path of ours: found as by `open_in_root`, with `flags` beside
    O_PATH. Raises OSError."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        found = open_in_root(root_fd, path, os.O_PATH | flags)
    finally:
        os.close(root_fd)
    try:
        return os.readlink(f"/proc/self/fd/{found}")
    finally:
        os.close(found)


def open_beneath(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open relative `path` through no link at all and never outside `root_fd` (ELOOP, EXDEV)."""
    return _retried(root_fd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def _retried(root_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
    for _ in range(_ATTEMPTS):
        try:
            return openat2(root_fd, path, flags, mode, resolve)
        except BlockingIOError:
            continue
    raise BlockingIOError(errno.EAGAIN, "openat2: directories on the way keep being renamed", path)
