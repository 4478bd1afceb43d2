"""Namespaces: unshare(2), setns(2) and pins, which are bind mounts that keep a namespace without a process."""

from __future__ import annotations

import contextlib
import ctypes
import os

from core.linux.fs import statfs
from core.linux.libc import check, function
from core.linux.mount import MNT_DETACH, MS_BIND, UMOUNT_NOFOLLOW, mount, umount2

CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

NSFS_MAGIC = 0x6E736673  # linux/magic.h

_unshare = function("unshare", ctypes.c_int)
_setns = function("setns", ctypes.c_int, ctypes.c_int)


def unshare(flags: int) -> None:
    """New namespaces for the calling thread (CLONE_NEWPID: for its next children)."""
    check(_unshare(flags), "unshare")


def setns(fd: int, nstype: int = 0) -> None:
    """Enter the namespace behind `fd` (or, for a pidfd, all of `nstype`) with the calling thread."""
    check(_setns(fd, nstype), "setns")


def pin(namespace: str, target: str) -> None:
    """Keep `namespace` (a /proc/<pid>/ns path) alive at file `target`, which is made. A crash leaves an empty file."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o444))
    mount(namespace, target, "", MS_BIND)


def unpin(target: str) -> None:
    """Undo `pin`, whole or half done. Success when `target` is gone."""
    with contextlib.suppress(FileNotFoundError):
        while is_pinned(target):
            umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW)
        os.unlink(target)


def is_pinned(target: str) -> bool:
    """Whether a namespace is mounted at `target`, rather than an empty file left by a crash or nothing at all."""
    try:
        return statfs(target).f_type == NSFS_MAGIC
    except FileNotFoundError:
        return False
