"""mount(2), umount2(2) and the mounts that snapshots hand out; numbers from linux/mount.h."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass

from core.linux import fsmount, overlay
from core.linux.libc import check, function
from core.linux.openat2 import real_path
from core.types import Mount

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

MAX_DATA = 4095  # bytes; the kernel copies one page with its NUL, and cuts off the rest without a word

# The names of mount(8): what they set, or clear.
_SET = {
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "sync": MS_SYNCHRONOUS,
    "remount": MS_REMOUNT,
    "dirsync": MS_DIRSYNC,
    "nosymfollow": MS_NOSYMFOLLOW,
    "noatime": MS_NOATIME,
    "nodiratime": MS_NODIRATIME,
    "bind": MS_BIND,
    "rbind": MS_BIND | MS_REC,
    "relatime": MS_RELATIME,
    "strictatime": MS_STRICTATIME,
    "lazytime": MS_LAZYTIME,
}
_CLEAR = {
    "defaults": 0,
    "rw": MS_RDONLY,
    "suid": MS_NOSUID,
    "dev": MS_NODEV,
    "exec": MS_NOEXEC,
    "async": MS_SYNCHRONOUS,
    "symfollow": MS_NOSYMFOLLOW,
    "atime": MS_NOATIME,
    "diratime": MS_NODIRATIME,
    "norelatime": MS_RELATIME,
    "nostrictatime": MS_STRICTATIME,
    "nolazytime": MS_LAZYTIME,
}
_PROPAGATION = {"unbindable": MS_UNBINDABLE, "private": MS_PRIVATE, "slave": MS_SLAVE, "shared": MS_SHARED}
_PROPAGATION |= {f"r{name}": flag | MS_REC for name, flag in _PROPAGATION.items()}

_ATTRIBUTES = {
    MS_RDONLY: fsmount.MOUNT_ATTR_RDONLY,
    MS_NOSUID: fsmount.MOUNT_ATTR_NOSUID,
    MS_NODEV: fsmount.MOUNT_ATTR_NODEV,
    MS_NOEXEC: fsmount.MOUNT_ATTR_NOEXEC,
    MS_NOATIME: fsmount.MOUNT_ATTR_NOATIME,
    MS_NODIRATIME: fsmount.MOUNT_ATTR_NODIRATIME,
    MS_STRICTATIME: fsmount.MOUNT_ATTR_STRICTATIME,
    MS_NOSYMFOLLOW: fsmount.MOUNT_ATTR_NOSYMFOLLOW,
}

_path = ctypes.c_char_p
_mount = function("mount", _path, _path, _path, ctypes.c_ulong, _path)
_umount2 = function("umount2", _path, ctypes.c_int)
_pivot_root = function("pivot_root", _path, _path)


def mount(source: str, target: str, filesystemtype: str = "", mountflags: int = 0, data: str = "") -> None:
    """Empty strings stand for NULL. Not more than MAX_DATA bytes of `data` count."""
    names = [os.fsencode(name) or None for name in (source, target, filesystemtype)]
    check(_mount(*names, mountflags, os.fsencode(data) or None), "mount", target)


def umount2(target: str, flags: int = 0) -> None:
    check(_umount2(os.fsencode(target), flags), "umount2", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root of the mount namespace and put the old one at `put_old`."""
    check(_pivot_root(os.fsencode(new_root), os.fsencode(put_old)), "pivot_root", new_root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Mount options sorted into what the kernel takes apart."""

    flags: int
    propagation: int
    """0: as the parent mount has it."""
    recursive_readonly: bool
    data: tuple[str, ...]
    """The filesystem's own."""


def parse_options(options: Iterable[str]) -> Options:
    """Later ones win, as in fstab; an unknown one belongs to the filesystem."""
    flags = propagation = 0
    recursive_readonly = False
    data = []
    for option in options:
        if option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif option in _PROPAGATION:
            propagation = _PROPAGATION[option]
        elif option == "rro":
            recursive_readonly = True
        else:
            data.append(option)
    return Options(flags=flags, propagation=propagation, recursive_readonly=recursive_readonly, data=tuple(data))


def mount_all(mounts: Iterable[Mount], target: str) -> None:
    """Perform `mounts` in their order at `target`, or at their own target inside it. On failure none is left.

    A crash leaves mounts at or below `target`: `umount_all` takes off all of them.
    """
    with contextlib.ExitStack() as undo:
        for item in mounts:
            place = real_path(target, item.target) if item.target else target
            _perform(item, parse_options(item.options), place, undo)
        undo.pop_all()


def umount_all(target: str, flags: int = MNT_DETACH) -> None:
    """Take off every mount that is stacked at `target`, with all below it. Success when there is none."""
    while True:
        try:
            umount2(target, flags | UMOUNT_NOFOLLOW)
        except OSError as exc:
            if exc.errno in {errno.EINVAL, errno.ENOENT}:  # not a mount point (any more), or nothing at all
                return
            raise


def _perform(item: Mount, options: Options, place: str, undo: contextlib.ExitStack) -> None:
    if options.flags & MS_BIND:
        mount(item.source, place, "", options.flags & (MS_BIND | MS_REC))
    else:
        _mount_new(item, options, place)
    undo.callback(umount2, place, MNT_DETACH)
    if options.flags & MS_BIND and options.flags & ~(MS_BIND | MS_REC):  # a new bind mount ignores all other flags
        mount("", place, "", MS_REMOUNT | options.flags & ~MS_REC)
    if options.propagation:
        mount("", place, "", options.propagation)
    if options.recursive_readonly:
        readonly = fsmount.MOUNT_ATTR_RDONLY
        fsmount.mount_setattr(fsmount.AT_FDCWD, place, fsmount.AT_RECURSIVE, attr_set=readonly)


def _mount_new(item: Mount, options: Options, place: str) -> None:
    data = ",".join(options.data)
    if item.type != "overlay" or len(os.fsencode(data)) <= MAX_DATA:
        mount(item.source, place, item.type, options.flags, data)
        return
    attributes = sum(attribute for flag, attribute in _ATTRIBUTES.items() if options.flags & flag)
    try:
        overlay.mount_by_layer(options.data, place, attributes)
    except OSError as exc:
        if not overlay.is_unsupported(exc):
            raise
        with overlay.layers_by_descriptor(options.data) as shorter:
            mount(item.source, place, item.type, options.flags, ",".join(shorter))
