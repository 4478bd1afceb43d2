"""Snapshots as directories, whatever is in them: the part that the overlay and native snapshotters share."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from core.errdefs import FailedPrecondition
from core.failpoint import failpoint
from core.files.dirs import make_dirs, remove_tree
from core.files.usage import disk_usage
from core.linux.fs import FS_TOPDIR_FL, get_flags, rename_exchange, set_flags, syncfs
from core.log import get_logger
from core.snapshots.index import Index
from core.snapshots.meta import Meta, read_meta, snapshot_id, write_meta
from core.snapshots.snapshotter import Kind, SnapshotInfo, Usage

log = get_logger(__name__)

FILES, WORK = "fs", "work"
_NEW, _REMOVED = "new-", "rm-"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"

Fill = Callable[[str], None]
"""Makes what a new snapshot starts with in the directory that it is given."""


class SnapshotDirectory:
    """Snapshots below `root` (0700):

        <id of name>/meta.json   name, kind, parent, creation, usage
                     fs/         its files
                     work/       overlayfs' scratch, of active snapshots
        new-*                    being prepared: becomes an active snapshot by rename
        rm-*                     being removed, or of no sense

    The filesystem is the only truth; an index of it is read at start. What a crash leaves:

        while preparing                       new-*, which `cleanup` removes
        in commit, behind writing meta.json   a name that is not the directory's: no snapshot; who made it does so again
        in commit, behind the rename          a committed snapshot
        behind remove                         rm-*, which `cleanup` removes
        in exchange                           a committed snapshot with one set of files or the other

    A power cut can leave a committed snapshot with its names but without its data. So meta.json says in which boot it
    was written until `sync` has brought it to disk, and in any other boot such a snapshot is none.

    What makes no sense at start (unreadable, wrong name, lost parent) is logged, renamed to rm-* so that its id is
    free, and left to `cleanup`: one bad directory never keeps the daemon from starting.
    """

    def __init__(self, root: str, boot_id: str = "") -> None:
        make_dirs(root, 0o700)
        _spread(root)
        self._root = root
        self._boot_id = boot_id or _read_boot_id()
        self._index = Index(self._load())
        self._leftovers = deque(entry for entry in os.listdir(root) if entry.startswith((_NEW, _REMOVED)))
        self._syncing = threading.Lock()

    def path(self, name: str, *inner: str) -> str:
        return os.path.join(self._root, snapshot_id(name), *inner)

    def get(self, name: str) -> Meta:
        """Raises NotFound."""
        return self._index.get(name)

    def lowers(self, name: str) -> tuple[str, ...]:
        """See Snapshotter.lowers."""
        return tuple(self.path(ancestor, FILES) for ancestor in self._index.chain(name))

    def create(self, key: str, kind: Kind, parent: str, fill: Fill) -> None:
        """Make snapshot `key` with what `fill` makes. Raises AlreadyExists, NotFound (parent)."""
        meta = Meta(name=key, kind=kind, parent=parent, created_at=time.time())
        staged = os.path.join(self._root, _NEW + secrets.token_hex(8))
        with ExitStack() as undo:
            self._index.reserve(key, parent)
            undo.callback(self._index.release, key, parent)
            undo.callback(remove_tree, staged)
            os.mkdir(staged, 0o700)
            fill(staged)
            failpoint("snapshot.prepare.filled")
            write_meta(staged, meta)
            os.rename(staged, self.path(key))
            failpoint("snapshot.prepare.renamed")
            self._index.publish(meta)
            undo.pop_all()

    def commit(self, name: str, key: str, parent: str, usage: Usage | None) -> None:
        """See Snapshotter.commit; `parent` "" keeps the one that `key` has."""
        active = self.get(key)
        _check_commit(active, parent)
        meta = replace(
            active,
            name=name,
            kind=Kind.COMMITTED,
            parent=parent or active.parent,
            unsynced_boot=self._boot_id,
        )
        with ExitStack() as undo:
            self._index.reserve(name, meta.parent)
            undo.callback(self._index.release, name, meta.parent)
            meta = replace(meta, usage=usage or self.usage(key))
            remove_tree(self.path(key, WORK))
            write_meta(self.path(key), meta)
            failpoint("snapshot.commit.written")
            undo.callback(write_meta, self.path(key), active)
            os.rename(self.path(key), self.path(name))
            failpoint("snapshot.commit.renamed")
            self._index.publish(meta, instead_of=active)
            undo.pop_all()

    def exchange(self, name: str, key: str) -> None:
        """See Snapshotter.exchange. The files are not on disk before `sync`: until then a power cut undoes `name`."""
        meta = replace(self.get(name), unsynced_boot=self._boot_id)
        self.get(key)

        def exchange() -> None:
            write_meta(self.path(name), meta)
            failpoint("snapshot.exchange.written")
            rename_exchange(self.path(name, FILES), self.path(key, FILES))
            failpoint("snapshot.exchange.renamed")

        self._index.replace(meta, exchange)

    def remove(self, name: str) -> None:
        """See Snapshotter.remove."""
        removed = _aside()
        self._index.remove(name, lambda: os.rename(self.path(name), os.path.join(self._root, removed)))
        self._leftovers.append(removed)
        failpoint("snapshot.remove.renamed")

    def usage(self, name: str) -> Usage:
        """See Snapshotter.usage."""
        if (known := self.get(name).usage) is not None:
            return known
        counted = disk_usage(self.path(name, FILES))
        return Usage(size=counted.size, inodes=counted.inodes)

    def walk(self) -> Iterator[SnapshotInfo]:
        return self._index.walk()

    def sync(self) -> None:
        """See Snapshotter.sync. Twice: first the data, then the word that the data is there."""
        with self._syncing:  # whoever waits here finds its snapshots synced already, as a rule
            unsynced = self._index.unsynced()
            if not unsynced:
                return
            self._syncfs()
            for meta in unsynced:
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    write_meta(self.path(meta.name), replace(meta, unsynced_boot=""))
            self._syncfs()
            self._index.synced(unsynced)

    def cleanup(self) -> None:
        """See Snapshotter.cleanup."""
        with contextlib.suppress(IndexError):  # no more: others may be at it, each with one of its own
            for _ in range(len(self._leftovers)):
                self._delete(self._leftovers.popleft())

    def _delete(self, leftover: str) -> None:
        try:
            remove_tree(os.path.join(self._root, leftover))
        except OSError:
            self._leftovers.append(leftover)  # at the end: it must not be in the way of the others
            raise

    def _syncfs(self) -> None:
        fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            syncfs(fd)
        finally:
            os.close(fd)

    def _load(self) -> list[Meta]:
        found: dict[str, Meta] = {}
        for entry in os.listdir(self._root):
            if entry.startswith((_NEW, _REMOVED)):
                continue
            try:
                meta = read_meta(os.path.join(self._root, entry))
            except (OSError, ValueError, KeyError, TypeError) as exc:
                self._quarantine(entry, f"{exc!r}")
                continue
            if meta.unsynced_boot not in ("", self._boot_id):
                self._quarantine(entry, "not on disk when the power went")
                continue
            found[meta.name] = meta
        return [meta for meta in found.values() if self._is_rooted(meta, found)]

    def _is_rooted(self, meta: Meta, found: dict[str, Meta]) -> bool:
        """Whether the chain of committed parents is whole; a circle, which only a hand can make, is not."""
        seen: set[str] = set()
        at = meta
        while at.parent:
            if at.parent in seen or at.parent not in found or found[at.parent].kind is not Kind.COMMITTED:
                self._quarantine(snapshot_id(meta.name), f"snapshot {at.name!r} has lost its parent {at.parent!r}")
                return False
            seen.add(at.parent)
            at = found[at.parent]
        return True

    def _quarantine(self, entry: str, reason: str) -> None:
        log.warning("no snapshot", directory=os.path.join(self._root, entry), reason=reason)
        try:
            os.rename(os.path.join(self._root, entry), os.path.join(self._root, _aside()))
        except OSError as exc:  # a read-only disk: the daemon starts all the same
            log.warning("cannot set a directory aside", directory=entry, error=exc)


def _aside() -> str:
    return _REMOVED + secrets.token_hex(8)


def _check_commit(active: Meta, parent: str) -> None:
    """Raises FailedPrecondition."""
    if active.kind is not Kind.ACTIVE:
        raise FailedPrecondition(f"snapshot {active.name!r} is {active.kind}: only an active one can be committed")
    if parent and active.parent not in ("", parent):
        raise FailedPrecondition(f"snapshot {active.name!r} was prepared on {active.parent!r}, not on {parent!r}")


def _spread(root: str) -> None:
    """Let ext4 put each snapshot where there is room, not all of them beside one another.

    In a block group where many files were deleted lately it looks at each of their inodes for every file that it makes
    (fs/ext4/ialloc.c, recently_deleted): a pull of 20,000 files right after the removal of as many took 8.5 s of
    processor time, and takes 2.1 since.
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # another filesystem, or a read-only one
            set_flags(fd, get_flags(fd) | FS_TOPDIR_FL)
    finally:
        os.close(fd)


def _read_boot_id() -> str:
    with open(_BOOT_ID, encoding="ascii") as file:
        return file.read().strip()
