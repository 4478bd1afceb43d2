"""What the writable layers of containers take on disk, as last counted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from core.errdefs import NotFound
from core.files.meter import Measured, Meter
from core.snapshots.snapshotter import Usage
from cri.store.container import Container


class Layers:
    def __init__(self, meter: Meter, upper: Callable[[str], str], root: str) -> None:
        """`upper` tells the directory of a container's writable layer, or raises NotFound; `root` is where all of them
        are, which ImageFsInfo names their filesystem by."""
        self._meter = meter
        self._upper = upper
        self.root = root

    def of(self, containers: Sequence[Container]) -> Mapping[str, Measured | None]:
        """By id; None for one that is gone or not counted yet. New ones are waited for, but not long."""
        found = {container.id: self._layer(container) for container in containers}
        if None in found.values():
            self._meter.wait_counted()
            found = {container.id: self._layer(container) for container in containers}
        return found

    def total(self, containers: Sequence[Container]) -> Usage:
        """Of all that are counted. Any thread may ask."""
        known = [measured for measured in self.of(containers).values() if measured]
        return Usage(size=sum(one.size for one in known), inodes=sum(one.inodes for one in known))

    def keep(self, ids: Collection[str]) -> None:
        """Forget all containers but `ids`."""
        self._meter.keep(ids)

    def close(self) -> None:
        """Idempotent."""
        self._meter.close()

    def _layer(self, container: Container) -> Measured | None:
        try:
            path = self._upper(container.id)
        except NotFound:  # being removed
            return None
        return self._meter.usage(container.id, path, still_since=container.finished_at)
