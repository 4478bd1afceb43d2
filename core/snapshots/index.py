"""Which snapshots there are, in memory: answers without touching the disk, and keeps names and parents consistent."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from core.errdefs import AlreadyExists, FailedPrecondition, NotFound
from core.snapshots.meta import Meta
from core.snapshots.snapshotter import Kind, SnapshotInfo


class Index:
    """Safe for threads. A name is reserved first, so that two cannot make it, and published when it is on disk."""

    def __init__(self, metas: Iterable[Meta]) -> None:
        self._mu = threading.Lock()
        self._metas = {meta.name: meta for meta in metas}  # guarded by _mu
        self._reserved: set[str] = set()  # guarded by _mu
        self._children = Counter(meta.parent for meta in self._metas.values())  # guarded by _mu; reserved ones too

    def get(self, name: str) -> Meta:
        """Raises NotFound."""
        with self._mu:
            return self._get(name)

    def chain(self, name: str) -> list[str]:
        """Committed `name` and its ancestors, the topmost first; [] for "". Raises NotFound."""
        with self._mu:
            names = []
            while name:
                names.append(name)
                name = self._committed(name).parent
            return names

    def reserve(self, name: str, parent: str) -> None:
        """Keep `name` for the caller and `parent` from being removed. Raises AlreadyExists, NotFound (parent)."""
        with self._mu:
            if name in self._metas or name in self._reserved:
                raise AlreadyExists(f"snapshot {name!r}")
            if parent:
                self._committed(parent)
            self._reserved.add(name)
            self._children[parent] += 1

    def release(self, name: str, parent: str) -> None:
        """Give a reservation back."""
        with self._mu:
            self._reserved.discard(name)
            self._children[parent] -= 1

    def publish(self, meta: Meta, *, instead_of: Meta | None = None) -> None:
        """Turn the reservation of `meta.name` into a snapshot, which replaces the active one that it was."""
        with self._mu:
            self._reserved.discard(meta.name)
            self._metas[meta.name] = meta
            if instead_of:
                self._forget(instead_of.name)

    def remove(self, name: str, move_away: Callable[[], None]) -> None:
        """Forget `name` once `move_away()` has renamed it; meanwhile it gets no child.

        Raises NotFound, FailedPrecondition when it has children, and what `move_away` raises.
        """
        with self._mu:
            self._get(name)
            if children := self._children[name]:
                raise FailedPrecondition(f"snapshot {name!r} has {children} children: remove them first")
            move_away()
            self._forget(name)

    def replace(self, meta: Meta, exchange: Callable[[], None]) -> None:
        """Know `meta` of committed `meta.name` once `exchange()` has given it other files.

        Raises FailedPrecondition while an active or a view stands on it, and what `exchange` raises.
        """
        with self._mu:
            self._committed(meta.name)
            if user := next(filter(partial(self._stands_on, meta.name), self._metas.values()), None):
                raise FailedPrecondition(f"snapshot {meta.name!r} is in use by {user.name!r}")
            exchange()
            self._metas[meta.name] = meta

    def _stands_on(self, name: str, meta: Meta) -> bool:
        """Whether `meta` can be mounted with the files of `name` in it. Caller holds _mu."""
        above = meta.kind is not Kind.COMMITTED
        while above and meta.parent and meta.parent != name:
            meta = self._metas[meta.parent]
        return above and meta.parent == name

    def unsynced(self) -> list[Meta]:
        with self._mu:
            return [meta for meta in self._metas.values() if meta.unsynced_boot]

    def synced(self, metas: Iterable[Meta]) -> None:
        """These are on disk now."""
        with self._mu:
            for meta in metas:
                if meta.name in self._metas:
                    self._metas[meta.name] = replace(meta, unsynced_boot="")

    def walk(self) -> Iterator[SnapshotInfo]:
        """All, children after their parents."""
        with self._mu:
            waiting = dict(self._metas)
        while waiting:
            for name in [name for name, meta in waiting.items() if meta.parent not in waiting]:
                yield waiting.pop(name).info

    def _get(self, name: str) -> Meta:
        try:
            return self._metas[name]
        except KeyError:
            raise NotFound(f"snapshot {name!r}") from None

    def _committed(self, name: str) -> Meta:
        meta = self._get(name)
        if meta.kind is not Kind.COMMITTED:
            raise NotFound(f"snapshot {name!r} is {meta.kind}, not committed")
        return meta

    def _forget(self, name: str) -> None:
        self._children[self._metas.pop(name).parent] -= 1
