"""The directories of a layer that is being unpacked, kept open while the archive works in them.

An archive lists a directory's files together, so a small cache of descriptors saves the kernel from walking every path.
Making a file changes its directory's mtime: the cache knows what it should be and sets it when it lets go of the
directory, so neither times nor descriptors pile up, whatever the order and number of entries.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass

from core.errdefs import InvalidArgument
from core.linux.openat2 import open_beneath

MAX_OPEN = 64  # descriptors; deeper nesting than this is rare and only costs opening directories again
MAX_LINKS = 40  # symbolic links on one path, as the kernel's MAXSYMLINKS

IMPLICIT = "trusted.crisp.implicit"
"""Marks a directory that the layer uses without describing it: `settle` gives it the attributes of the one below."""
OVERLAY_OPAQUE = "trusted.overlay.opaque"  # Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


@dataclass(slots=True, kw_only=True)
class Directory:
    path: bytes
    fd: int
    mtime: int
    """Nanoseconds; what it shall be when we are done with it."""
    is_setgid: bool
    """New files take this directory's group and new directories its setgid bit, whoever makes them."""


class Directories:
    """Opens directories below `root_fd`, which stays the caller's. Paths are lists of components, see `names.parts`.

    With `marks`, directories that the layer did not describe are marked IMPLICIT and counted in `implicit`.
    """

    def __init__(self, root_fd: int, *, marks: bool) -> None:
        self._root_fd = root_fd
        self._marks = marks
        self._open: OrderedDict[bytes, Directory] = OrderedDict()
        self.implicit = 0

    def open(self, parts: list[bytes], *, create: bool = True) -> Directory:
        """The directory at `parts`; links on the way lead to where they lead inside the root, never out of it.

        Missing directories are made unless `create` is False: then FileNotFoundError or NotADirectoryError. Raises
        InvalidArgument when a file is in the way.
        """
        path = b"/".join(parts)
        if (known := self._open.get(path)) is not None:
            self._open.move_to_end(path)
            return known
        try:
            return self._keep(path, self._open_fd(path))
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                return self.open(self._follow(parts), create=create)
            if not create:
                raise
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
        return self._make(parts)

    def add(self, path: bytes, parent: Directory, name: bytes, mtime: int) -> Directory:
        """Open `name` in `parent`, known to be a directory, to be left with `mtime`."""
        if (known := self._open.get(path)) is None:
            known = self._keep(path, os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent.fd))
        known.mtime = mtime
        return known

    def describe(self, directory: Directory) -> None:
        """The layer has an entry for `directory` after all: it is not implicit."""
        if self._marks:
            with contextlib.suppress(OSError):  # ENODATA: it was not marked
                os.removexattr(directory.fd, IMPLICIT)

    def forget_below(self, path: bytes) -> None:
        """Let go of `path` and all below it, since the names mean something else from now on."""
        for known in [known for known in self._open if known == path or known.startswith(path + b"/")]:
            self._release(self._open.pop(known))

    def close(self) -> None:
        """Set the times of all directories and close them."""
        while self._open:
            self._release(self._open.popitem(last=False)[1])

    def _keep(self, path: bytes, fd: int) -> Directory:
        status = os.fstat(fd)
        kept = Directory(path=path, fd=fd, mtime=status.st_mtime_ns, is_setgid=bool(status.st_mode & stat.S_ISGID))
        self._open[path] = kept
        if len(self._open) > MAX_OPEN:
            self._release(self._open.popitem(last=False)[1])
        return kept

    def _release(self, directory: Directory) -> None:
        try:
            os.utime(directory.fd, ns=(directory.mtime, directory.mtime))
        finally:
            os.close(directory.fd)

    def _open_fd(self, path: bytes) -> int:
        return open_beneath(self._root_fd, os.fsdecode(path) or ".", _DIRECTORY)

    def _follow(self, parts: list[bytes]) -> list[bytes]:
        """Replace symbolic links on the way by what they mean below the root. Raises InvalidArgument for too many."""
        todo = parts[::-1]
        done: list[bytes] = []
        links = 0
        while todo:
            if (part := todo.pop()) in (b"", b".", b".."):
                done = done[:-1] if part == b".." else done
                continue
            target = self._link_target(b"/".join([*done, part]))
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > MAX_LINKS:
                raise InvalidArgument(f"layer path {b'/'.join(parts)[:160]!r}: more than {MAX_LINKS} symbolic links")
            if target.startswith(b"/"):
                done = []
            todo.extend(reversed(target.split(b"/")))
        return done

    def _link_target(self, path: bytes) -> bytes | None:
        with contextlib.suppress(OSError):  # not a link, or nothing there
            return os.readlink(path, dir_fd=self._root_fd)
        return None

    def _make(self, parts: list[bytes]) -> Directory:
        """Make what is missing of `parts`, in which there are no links. Raises InvalidArgument."""
        parent = self.open([])
        for depth, part in enumerate(parts, 1):
            try:
                parent = self.open(parts[:depth], create=False)
                continue
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
                    raise
            parent = self._make_one(parent, b"/".join(parts[:depth]), part)
        return parent

    def _make_one(self, parent: Directory, path: bytes, name: bytes) -> Directory:
        was_whiteout = False
        with contextlib.suppress(FileNotFoundError):
            was_whiteout = is_whiteout(os.stat(name, dir_fd=parent.fd, follow_symlinks=False))
        if was_whiteout:
            os.unlink(name, dir_fd=parent.fd)
        try:
            os.mkdir(name, 0o755, dir_fd=parent.fd)
        except FileExistsError as exc:
            raise InvalidArgument(f"layer path {path[:160]!r}: not a directory") from exc
        made = self._keep(path, os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent.fd))
        if was_whiteout:
            os.setxattr(made.fd, OVERLAY_OPAQUE, b"y")
        elif self._marks:
            os.setxattr(made.fd, IMPLICIT, b"")
            self.implicit += 1
        return made


def is_whiteout(status: os.stat_result) -> bool:
    """Whether this is overlayfs' mark for "removed": character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
