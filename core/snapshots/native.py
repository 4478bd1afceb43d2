"""The snapshotter for any filesystem: each snapshot holds all its files, as clones where the filesystem can."""

from __future__ import annotations

import os
from collections.abc import Iterator

from core.errdefs import FailedPrecondition
from core.snapshots.copy import copy_tree
from core.snapshots.directory import FILES, SnapshotDirectory
from core.snapshots.snapshotter import Kind, Layering, SnapshotInfo, Snapshotter, Usage
from core.types import Mount


class NativeSnapshotter:
    """See SnapshotDirectory for the files below `root` and for what a crash leaves. A view is its parent, read-only."""

    def __init__(self, root: str, *, boot_id: str = "") -> None:
        self._directory = SnapshotDirectory(root, boot_id)

    @property
    def layering(self) -> Layering:
        return Layering.COPIED

    def prepare(self, key: str, parent: str) -> tuple[Mount, ...]:
        def fill(directory: str) -> None:
            _make_files(directory)
            for lower in self.lowers(parent):
                copy_tree(lower, os.path.join(directory, FILES))

        self._directory.create(key, Kind.ACTIVE, parent, fill)
        return self.mounts(key)

    def view(self, key: str, parent: str) -> tuple[Mount, ...]:
        self._directory.create(key, Kind.VIEW, parent, _make_files)
        return self.mounts(key)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        meta = self._directory.get(key)
        if meta.kind is Kind.ACTIVE:
            return (Mount(type="bind", source=self.upper(key), options=("rbind", "rw")),)
        return (Mount(type="bind", source=self.upper(meta.parent or key), options=("rbind", "ro")),)

    def upper(self, key: str) -> str:
        self._directory.get(key)
        return self._directory.path(key, FILES)

    def lowers(self, name: str) -> tuple[str, ...]:
        """Only `name` itself: it has its ancestors' files."""
        return self._directory.lowers(name)[:1]

    def commit(self, name: str, key: str, *, parent: str = "", usage: Usage | None = None) -> None:
        if parent and self._directory.get(key).parent != parent:
            raise FailedPrecondition(f"snapshot {key!r} is no copy of {parent!r}: prepare it on its parent")
        self._directory.commit(name, key, "", usage)

    def exchange(self, name: str, key: str) -> None:
        self._directory.exchange(name, key)

    def remove(self, key: str) -> None:
        self._directory.remove(key)

    def stat(self, key: str) -> SnapshotInfo:
        return self._directory.get(key).info

    def usage(self, key: str) -> Usage:
        return self._directory.usage(key)

    def walk(self) -> Iterator[SnapshotInfo]:
        return self._directory.walk()

    def sync(self) -> None:
        self._directory.sync()

    def cleanup(self) -> None:
        self._directory.cleanup()


def _make_files(directory: str) -> None:
    path = os.path.join(directory, FILES)
    os.mkdir(path)
    os.chmod(path, 0o755)  # the "/" of a container, whatever the daemon's umask is


_fits: type[Snapshotter] = NativeSnapshotter
