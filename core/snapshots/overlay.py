"""The snapshotter for Linux with overlayfs: a layer is a directory, a container is a writable one on top of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from core.errdefs import InvalidArgument
from core.files.dirs import remove_tree
from core.snapshots.directory import FILES, WORK, SnapshotDirectory
from core.snapshots.snapshotter import Kind, Layering, SnapshotInfo, Snapshotter, Usage
from core.types import Mount

_SEPARATORS = ":,\\"  # of overlayfs' options: cheaper never to have them in a path than to escape them everywhere


class OverlaySnapshotter:
    """See SnapshotDirectory for the files below `root` and for what a crash leaves.

    Mounts are `volatile`: a container does not outlive a reboot, so neither its fsync(2) nor its unmounting needs to
    wait for the disk (which stalls for seconds while an image is being unpacked, containerd#4485). Without `index`
    a layer may be part of several mounts and of a copied disk.
    """

    def __init__(self, root: str, *, volatile: bool = True, boot_id: str = "") -> None:
        if any(separator in root for separator in _SEPARATORS):
            raise InvalidArgument(f"snapshots cannot be kept at {root!r}: no : , or \\ in the path")
        self._directory = SnapshotDirectory(root, boot_id)
        self._options = ("index=off", "volatile") if volatile else ("index=off",)

    @property
    def layering(self) -> Layering:
        return Layering.STACKED

    def prepare(self, key: str, parent: str) -> tuple[Mount, ...]:
        self._directory.create(key, Kind.ACTIVE, parent, _make_active)
        return self.mounts(key)

    def view(self, key: str, parent: str) -> tuple[Mount, ...]:
        self._directory.create(key, Kind.VIEW, parent, _make_files)
        return self.mounts(key)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        meta = self._directory.get(key)
        lowers = self._directory.lowers(meta.parent)
        if meta.kind is Kind.ACTIVE and lowers:
            return (self._writable(key, lowers),)
        if len(lowers) > 1:
            options = ("ro", "index=off", f"lowerdir={':'.join(lowers)}")
            return (Mount(type="overlay", source="overlay", options=options),)
        access = "rw" if meta.kind is Kind.ACTIVE else "ro"
        source = lowers[0] if lowers else self._directory.path(key, FILES)
        return (Mount(type="bind", source=source, options=("rbind", access)),)

    def upper(self, key: str) -> str:
        self._directory.get(key)
        return self._directory.path(key, FILES)

    def lowers(self, name: str) -> tuple[str, ...]:
        return self._directory.lowers(name)

    def commit(self, name: str, key: str, *, parent: str = "", usage: Usage | None = None) -> None:
        self._directory.commit(name, key, parent, usage)

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

    def _writable(self, key: str, lowers: tuple[str, ...]) -> Mount:
        work = self._directory.path(key, WORK)
        # Left by an earlier volatile mount to forbid another one, since a power cut in between would have lost data
        # (Documentation/filesystems/overlayfs.rst, "Volatile mount"). It would also have ended the container.
        remove_tree(os.path.join(work, "work", "incompat"))
        return Mount(
            type="overlay",
            source="overlay",
            options=(
                *self._options,
                f"lowerdir={':'.join(lowers)}",
                f"upperdir={self._directory.path(key, FILES)}",
                f"workdir={work}",
            ),
        )


def _make_files(directory: str) -> None:
    path = os.path.join(directory, FILES)
    os.mkdir(path)
    os.chmod(path, 0o755)  # the "/" of a container, whatever the daemon's umask is


def _make_active(directory: str) -> None:
    _make_files(directory)
    os.mkdir(os.path.join(directory, WORK), 0o700)


_fits: type[Snapshotter] = OverlaySnapshotter
