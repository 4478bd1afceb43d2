"""The snapshotters of a node by name: each runtime handler's containers stand in the one that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.errdefs import NotFound
from core.snapshots.snapshotter import SnapshotInfo, Snapshotter

OVERLAYFS, NATIVE = "overlayfs", "native"
"""As the field calls them."""


class Snapshotters:
    """A layer can be in several of them, an active or a view is in one."""

    def __init__(self, named: Mapping[str, Snapshotter]) -> None:
        """The first one is the default."""
        self.named = dict(named)
        self.default = next(iter(named))

    def name(self, name: str) -> str:
        """`name`, or the default one's for "". Raises NotFound."""
        if (name or self.default) not in self.named:
            raise NotFound(f"snapshotter {name[:160]!r}: there is {', '.join(self.named)}")
        return name or self.default

    def get(self, name: str) -> Snapshotter:
        """By its name, "" for the default one. Raises NotFound."""
        return self.named[self.name(name)]

    def holder(self, key: str) -> str:
        """The name of the one that has snapshot `key`. Raises NotFound."""
        for name, snapshotter in self.named.items():
            try:
                snapshotter.stat(key)
            except NotFound:
                continue
            return name
        raise NotFound(f"snapshot {key!r}")

    def of(self, key: str) -> Snapshotter:
        """The one that has snapshot `key`. Raises NotFound."""
        return self.named[self.holder(key)]

    def upper(self, key: str) -> str:
        """Where active `key` has its own files. Raises NotFound."""
        return self.of(key).upper(key)

    def walk(self) -> Iterator[SnapshotInfo]:
        """All snapshots of all."""
        for snapshotter in self.named.values():
            yield from snapshotter.walk()

    def cleanup(self) -> None:
        """See Snapshotter.cleanup: OSError of one keeps those behind it waiting until the next time."""
        for snapshotter in self.named.values():
            snapshotter.cleanup()
