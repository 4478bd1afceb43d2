"""Unpacking a layer: the entries of an archive become files below one directory (OCI image-spec, layer.md, Applying).

The caller has made that directory this process's root (`core.diff.unpack`), so no name can mean a file outside of it.
What follows would hold without that: parents are opened beneath the root without following a link, the last component
is only ever made anew (O_EXCL, mkdir, symlink, link, mknod), and what is in its place is unlinked first, never opened.

A regular file costs openat, write, utimensat and close; owner and mode are set only where creation did not do it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from core.diff import names
from core.diff.attributes import dress_node, dress_open, set_xattrs
from core.diff.directories import Directories, Directory, is_whiteout
from core.diff.refusals import refusals
from core.diff.removal import remove
from core.diff.tar import Entry, TarReader, Type
from core.diff.whiteouts import Mode, Whiteouts, whiteouts
from core.errdefs import InvalidArgument

LOWER_LINK = "trusted.crisp.link"
"""Marks a symbolic link that stands for a hard link to a file of a lower layer, until `settle` makes that link."""

BLOCK = 4096  # bytes: the unit in which disk usage is estimated without asking the filesystem for each file
MAX_MAJOR, MAX_MINOR = (1 << 12) - 1, (1 << 20) - 1  # linux/kdev_t.h
MAX_ID = (1 << 32) - 2  # the last uid and gid: -1 means "unchanged" to chown(2)
_MAX_TIME = (1 << 63) - 1  # nanoseconds; the filesystem clamps to what it can store

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_DEVICE_TYPE = {Type.CHAR: stat.S_IFCHR, Type.BLOCK: stat.S_IFBLK, Type.FIFO: stat.S_IFIFO}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    size: int
    """Bytes on disk, in blocks of BLOCK."""
    inodes: int
    unsettled: bool
    """The layer leans on the ones below: `settle` has work to do once they are there."""


def apply(reader: TarReader, root_fd: int, mode: Mode) -> Applied:
    """Make the entries of `reader` below `root_fd`. The umask must be 0.

    Raises DataLoss (damaged archive), InvalidArgument (an entry that cannot be), ResourceExhausted (disk, inodes).
    On failure the directory holds whatever was made so far: its owner drops it.
    """
    opened = Directories(root_fd, marks=mode is Mode.STACKED)
    layer = _Layer(reader, opened, whiteouts(mode), mode)
    with contextlib.closing(opened):
        for entry in reader:
            with refusals(entry.name):
                layer.make(entry)
    return layer.applied()


class _Layer:
    def __init__(self, reader: TarReader, directories: Directories, hidden: Whiteouts, mode: Mode) -> None:
        self._reader = reader
        self._directories = directories
        self._whiteouts = hidden
        self._mode = mode
        self._blocks = 0
        self._inodes = 0
        self._lower_links = 0
        self._makers: dict[Type, Callable[[Entry, Directory, bytes], None]] = {
            Type.REGULAR: self._regular,
            Type.DIRECTORY: self._directory,
            Type.SYMLINK: self._symlink,
            Type.LINK: self._link,
            Type.CHAR: self._node,
            Type.BLOCK: self._node,
            Type.FIFO: self._node,
        }

    def make(self, entry: Entry) -> None:
        parts = names.parts(entry.name)
        if not parts:
            return  # the root: its owner and mode are the snapshotter's, as in containerd and Docker
        name = parts.pop()
        if names.WHITEOUT in entry.name and self._is_mark(parts, name):
            return
        if entry.uid > MAX_ID or entry.gid > MAX_ID:
            raise InvalidArgument(f"owner {entry.uid}:{entry.gid} is out of range")
        entry.mtime = max(-_MAX_TIME, min(_MAX_TIME, entry.mtime))
        parent = self._directories.open(parts)
        self._makers[entry.type](entry, parent, name)
        self._whiteouts.made(_join(parent, name))

    def applied(self) -> Applied:
        implicit = self._directories.implicit
        return Applied(
            size=(self._blocks + implicit) * BLOCK,
            inodes=self._inodes + implicit,
            unsettled=bool(implicit or self._lower_links),
        )

    def _is_mark(self, parts: list[bytes], name: bytes) -> bool:
        """Obey a whiteout; True when the entry makes no file. Raises InvalidArgument for one that names nothing."""
        if name == names.OPAQUE:
            self._whiteouts.opaque(self._directories.open(parts))
            return True
        if any(part.startswith(names.AUFS) for part in (*parts, name)):
            return True
        if not name.startswith(names.WHITEOUT):
            return False
        hidden = name.removeprefix(names.WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise InvalidArgument("a whiteout must name a file of its own directory")
        self._whiteouts.remove(self._directories.open(parts), hidden)
        self._inodes += self._mode is Mode.STACKED
        return True

    def _regular(self, entry: Entry, parent: Directory, name: bytes) -> None:
        try:
            fd = os.open(name, _CREATE, entry.mode, dir_fd=parent.fd)
        except FileExistsError:
            self._displace(parent, name)
            fd = os.open(name, _CREATE, entry.mode, dir_fd=parent.fd)
        try:
            for piece in self._reader.data():
                _write(fd, piece)
            dress_open(fd, entry, parent)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)
        self._count(entry.size)

    def _directory(self, entry: Entry, parent: Directory, name: bytes) -> None:
        try:
            os.mkdir(name, entry.mode, dir_fd=parent.fd)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode):
                self._merge(entry, parent, name)
                return
            self._displace(parent, name)
            os.mkdir(name, entry.mode, dir_fd=parent.fd)
            made = self._open_directory(entry, parent, name)
            self._whiteouts.opaque(made)  # what it replaces has hidden the lower directory
        else:
            made = self._open_directory(entry, parent, name)
        dress_open(made.fd, entry, parent)
        self._count(0, blocks=1)

    def _merge(self, entry: Entry, parent: Directory, name: bytes) -> None:
        """The directory is there already: of an earlier entry, implicit, or the parent layer's."""
        made = self._open_directory(entry, parent, name)
        os.fchown(made.fd, entry.uid, entry.gid)
        os.fchmod(made.fd, entry.mode)
        set_xattrs(made.fd, entry.xattrs)
        self._directories.describe(made)

    def _open_directory(self, entry: Entry, parent: Directory, name: bytes) -> Directory:
        made = self._directories.add(_join(parent, name), parent, name, entry.mtime)
        made.is_setgid = bool(entry.mode & stat.S_ISGID)
        return made

    def _symlink(self, entry: Entry, parent: Directory, name: bytes) -> None:
        self._anew(parent, name, lambda: os.symlink(entry.linkname, name, dir_fd=parent.fd))
        dress_node(entry, parent, name)
        self._count(0)

    def _link(self, entry: Entry, parent: Directory, name: bytes) -> None:
        *target_parts, target = names.parts(entry.linkname) or [b"."]
        try:
            source = self._directories.open(target_parts, create=False)
            status = os.stat(target, dir_fd=source.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            self._link_below(entry, parent, name)
            return
        if is_whiteout(status):
            self._link_below(entry, parent, name)
            return
        if (source.fd, target) == (parent.fd, name):
            raise InvalidArgument("hard link to itself")
        self._anew(parent, name, lambda: _link(source, target, parent, name))

    def _link_below(self, entry: Entry, parent: Directory, name: bytes) -> None:
        if self._mode is not Mode.STACKED:
            raise InvalidArgument(f"hard link to {entry.linkname[:160]!r}, which does not exist")
        target = b"/" + b"/".join(names.parts(entry.linkname))
        self._anew(parent, name, lambda: os.symlink(target, name, dir_fd=parent.fd))
        os.fchdir(parent.fd)  # there is no lsetxattr relative to a descriptor
        os.setxattr(name, LOWER_LINK, b"", follow_symlinks=False)
        self._lower_links += 1

    def _node(self, entry: Entry, parent: Directory, name: bytes) -> None:
        if entry.major > MAX_MAJOR or entry.minor > MAX_MINOR:
            raise InvalidArgument(f"device {entry.major}:{entry.minor} is out of range")
        mode = _DEVICE_TYPE[entry.type] | entry.mode
        device = os.makedev(entry.major, entry.minor)
        self._anew(parent, name, lambda: os.mknod(name, mode, device, dir_fd=parent.fd))
        dress_node(entry, parent, name)
        self._count(0)

    def _anew(self, parent: Directory, name: bytes, create: Callable[[], None]) -> None:
        try:
            create()
        except FileExistsError:
            self._displace(parent, name)
            create()

    def _displace(self, parent: Directory, name: bytes) -> None:
        """Remove what is called `name`: of several entries for one path the last one counts."""
        remove(parent.fd, name)
        self._directories.forget_below(_join(parent, name))

    def _count(self, size: int, *, blocks: int = 0) -> None:
        self._inodes += 1
        self._blocks += -(-size // BLOCK) + blocks


def _join(parent: Directory, name: bytes) -> bytes:
    return parent.path + b"/" + name if parent.path else name


def _write(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


def _link(source: Directory, target: bytes, parent: Directory, name: bytes) -> None:
    os.link(target, name, src_dir_fd=source.fd, dst_dir_fd=parent.fd, follow_symlinks=False)
