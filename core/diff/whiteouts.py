"""What a layer takes away from the layers below it (OCI image-spec, layer.md, Whiteouts).

A whiteout hides what lower layers have and nothing of its own layer, in whichever order the archive lists them:

    STACKED   the directory holds this layer alone: leave overlayfs' marks (device 0:0, trusted.overlay.opaque)
    COPIED    the directory holds the parent's files too: remove them, sparing what this layer made
    BASE      there is nothing below: nothing to do, and no mark that a bind mount would show
"""

from __future__ import annotations

import enum
import os
import stat
from typing import Protocol

from core.diff.directories import OVERLAY_OPAQUE, Directory
from core.diff.removal import remove
from core.errdefs import ResourceExhausted

MAX_REMEMBERED = 2_000_000  # paths of one layer in COPIED mode, some 150 bytes each; only the slow snapshotter pays


class Mode(enum.StrEnum):
    STACKED = "stacked"
    COPIED = "copied"
    BASE = "base"


class Whiteouts(Protocol):
    def made(self, path: bytes) -> None:
        """The layer has made `path`, as components joined by "/"."""

    def remove(self, directory: Directory, name: bytes) -> None:
        """`name` of lower layers disappears."""

    def opaque(self, directory: Directory) -> None:
        """All that lower layers have in `directory` disappears."""


class Base:
    """Nothing is below."""

    def made(self, path: bytes) -> None:
        pass

    def remove(self, directory: Directory, name: bytes) -> None:
        pass

    def opaque(self, directory: Directory) -> None:
        pass


class Stacked:
    """Overlayfs hides what is below (Documentation/filesystems/overlayfs.rst)."""

    def made(self, path: bytes) -> None:
        pass

    def remove(self, directory: Directory, name: bytes) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory.fd)
        except FileExistsError:
            # This layer's own file hides the lower one anyway; its own directory must not merge with a lower one.
            if stat.S_ISDIR(os.stat(name, dir_fd=directory.fd, follow_symlinks=False).st_mode):
                _mark_opaque(directory.fd, name)

    def opaque(self, directory: Directory) -> None:
        os.setxattr(directory.fd, OVERLAY_OPAQUE, b"y")


class Copied:
    """The lower files are right here. Raises ResourceExhausted for a layer of more than MAX_REMEMBERED entries."""

    def __init__(self) -> None:
        self._own: set[bytes] = set()

    def made(self, path: bytes) -> None:
        while path and path not in self._own:
            self._own.add(path)
            path = path.rpartition(b"/")[0]
        if len(self._own) > MAX_REMEMBERED:
            raise ResourceExhausted(f"layer has more than {MAX_REMEMBERED} entries, too many for this snapshotter")

    def remove(self, directory: Directory, name: bytes) -> None:
        self._remove(directory.fd, directory.path, name)

    def opaque(self, directory: Directory) -> None:
        self._empty(directory.fd, directory.path)

    def _empty(self, dir_fd: int, path: bytes) -> None:
        for name in os.listdir(dir_fd):
            self._remove(dir_fd, path, os.fsencode(name))

    def _remove(self, dir_fd: int, path: bytes, name: bytes) -> None:
        inner = path + b"/" + name if path else name
        if inner not in self._own:
            remove(dir_fd, name)
        elif stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)
            try:
                self._empty(fd, inner)
            finally:
                os.close(fd)


def whiteouts(mode: Mode) -> Whiteouts:
    if mode is Mode.STACKED:
        return Stacked()
    return Copied() if mode is Mode.COPIED else Base()


def _mark_opaque(dir_fd: int, name: bytes) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        os.setxattr(fd, OVERLAY_OPAQUE, b"y")
    finally:
        os.close(fd)
