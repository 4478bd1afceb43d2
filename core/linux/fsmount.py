"""The mount API of file descriptors (Linux 5.2, mount_setattr 5.12); numbers from linux/mount.h."""

from __future__ import annotations

import ctypes
import errno
import os

from core.linux.libc import check, error, syscall

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4

FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

_MESSAGE = 4096  # bytes; more than the kernel's longest line about a failed option


class _MountAttr(ctypes.Structure):
    """struct mount_attr, MOUNT_ATTR_SIZE_VER0."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


_long = ctypes.c_long
_path = ctypes.c_char_p
_open_tree = syscall(428, _long, _path, _long)
_move_mount = syscall(429, _long, _path, _long, _path, _long)
_fsopen = syscall(430, _path, _long)
_fsconfig = syscall(431, _long, _long, _path, _path, _long)
_fsmount = syscall(432, _long, _long, _long)
_mount_setattr = syscall(442, _long, _path, _long, ctypes.POINTER(_MountAttr), ctypes.c_size_t)


def open_tree(dirfd: int, path: str, flags: int = OPEN_TREE_CLOEXEC) -> int:
    """A descriptor of the mount at `path`, or with OPEN_TREE_CLONE of a detached copy of it."""
    return check(_open_tree(dirfd, os.fsencode(path), flags), "open_tree", path)


def move_mount(from_dirfd: int, from_path: str, to_dirfd: int, to_path: str, flags: int = 0) -> None:
    """Attach a detached mount. Empty paths need the `MOVE_MOUNT_*_EMPTY_PATH` flags."""
    result = _move_mount(from_dirfd, os.fsencode(from_path), to_dirfd, os.fsencode(to_path), flags)
    check(result, "move_mount", to_path)


def fsopen(fsname: str, flags: int = FSOPEN_CLOEXEC) -> int:
    """A descriptor of a filesystem that is being configured."""
    return check(_fsopen(os.fsencode(fsname), flags), "fsopen", fsname)


def fsconfig(fs_fd: int, cmd: int, key: str = "", value: str = "", aux: int = 0) -> None:
    """Set one option, or create the superblock. A string value has at most 255 bytes.

    The kernel's own message becomes the text of the OSError where it leaves one.
    """
    names = [os.fsencode(text) or None for text in (key, value)]
    if _fsconfig(fs_fd, cmd, *names, aux) < 0:
        raise error(ctypes.get_errno(), "fsconfig", value or key or None, _message(fs_fd))


def fsmount(fs_fd: int, flags: int = FSMOUNT_CLOEXEC, attr_flags: int = 0) -> int:
    """A descriptor of a detached mount of the filesystem that `fsconfig` created."""
    return check(_fsmount(fs_fd, flags, attr_flags), "fsmount")


def mount_setattr(
    dirfd: int, path: str, flags: int, *, attr_set: int = 0, attr_clr: int = 0, propagation: int = 0, userns_fd: int = 0
) -> None:
    """Change a mount, and with AT_RECURSIVE all below it, at once or not at all."""
    attr = _MountAttr(attr_set, attr_clr, propagation, userns_fd)
    result = _mount_setattr(dirfd, os.fsencode(path), flags, ctypes.byref(attr), ctypes.sizeof(attr))
    check(result, "mount_setattr", path or None)


def _message(fs_fd: int) -> str:
    """The oldest message in the filesystem context, without its severity letter."""
    try:
        return os.read(fs_fd, _MESSAGE).decode(errors="replace").partition(" ")[2].strip()
    except OSError as exc:
        if exc.errno in {errno.ENODATA, errno.EMSGSIZE}:
            return ""
        raise
