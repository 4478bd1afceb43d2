"""Owner, mode, times and extended attributes of what a layer has just made: no call that creating it made needless."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping

from core.diff.directories import Directory
from core.diff.tar import Entry

_SPECIAL_BITS = 0o7000  # mkdir(2) ignores some of them, chown(2) clears some


def dress_open(fd: int, entry: Entry, parent: Directory) -> None:
    """Owner, mode and extended attributes of a new file or directory in `parent`, in the order that keeps them."""
    if entry.uid or entry.gid or parent.is_setgid:
        os.fchown(fd, entry.uid, entry.gid)
    if entry.mode & _SPECIAL_BITS or parent.is_setgid:
        os.fchmod(fd, entry.mode)
    set_xattrs(fd, entry.xattrs)


def dress_node(entry: Entry, parent: Directory, name: bytes) -> None:
    """Owner, mode and time of a new link or device, which cannot be opened."""
    if entry.uid or entry.gid or parent.is_setgid:
        os.chown(name, entry.uid, entry.gid, dir_fd=parent.fd, follow_symlinks=False)
    if entry.mode & _SPECIAL_BITS and not entry.linkname:
        os.chmod(name, entry.mode, dir_fd=parent.fd)  # a device that we have just made: no link to follow
    os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent.fd, follow_symlinks=False)


def set_xattrs(fd: int, xattrs: Mapping[bytes, bytes]) -> None:
    """Set those of a layer's attributes that it may set; a filesystem that has none gets the file without them."""
    for name, value in _kept(xattrs):
        try:
            os.setxattr(fd, name, value)
        except OSError as exc:
            if exc.errno != errno.EOPNOTSUPP:
                raise


def _kept(xattrs: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """File capabilities and user.*, but not overlayfs' own.

    trusted.* would steer overlayfs (opaque, redirect, metacopy) and security.* the host's access control; ACLs
    (system.*) would pass on to whatever is made in their directory later, and no image builder records them.
    """
    for name, value in xattrs.items():
        if name == b"security.capability" or (name.startswith(b"user.") and not name.startswith(b"user.overlay.")):
            yield name, value
