"""Snapshots: filesystems that are stacked, written once and then shared.

An *active* snapshot is writable and named by a key; `commit` turns it into a *committed* one under a name, after which
it never changes and can be a parent. A *view* is a read-only active. A snapshot's parent outlives it.

    prepare("extract-1", "")  →  write into its mounts  →  commit("sha256:<chain id>", "extract-1")
    prepare("<container id>", "sha256:<chain id>")       →  the container's root; removed with it
    view("<id>", "sha256:<chain id>")                    →  an image volume

The mounts are returned, not performed. All calls block. Every method is atomic: after a crash a snapshot is there
whole or not at all, and `cleanup` removes what is in between.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from core.types import Mount


class Kind(enum.StrEnum):
    ACTIVE = "active"
    VIEW = "view"
    COMMITTED = "committed"


class Layering(enum.StrEnum):
    STACKED = "stacked"
    """`upper` holds one layer's own files and whiteout marks; the layers of an image may be unpacked in any order."""
    COPIED = "copied"
    """`upper` holds the parent's files too, so the parent comes first and a whiteout is a plain removal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    name: str
    """Key of an active or view, name of a committed snapshot."""
    kind: Kind
    parent: str
    """Name of a committed snapshot, "" for none."""
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    size: int
    """Bytes on disk of this snapshot alone, without its parents."""
    inodes: int


class Snapshotter(Protocol):
    @property
    def layering(self) -> Layering:
        """How `core.diff` unpacks a layer into `upper`."""

    def prepare(self, key: str, parent: str) -> tuple[Mount, ...]:
        """Make active snapshot `key` on committed `parent`. Raises AlreadyExists (key), NotFound (parent)."""

    def view(self, key: str, parent: str) -> tuple[Mount, ...]:
        """Make read-only snapshot `key` of committed `parent`. Raises AlreadyExists, NotFound."""

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """The mounts of an active or view. Raises NotFound."""

    def upper(self, key: str) -> str:
        """Directory into which a layer is unpacked: the active snapshot's own files. Raises NotFound."""

    def lowers(self, name: str) -> tuple[str, ...]:
        """Directories of committed `name` and its ancestors, the topmost first; () for "". Raises NotFound."""

    def commit(self, name: str, key: str, *, parent: str = "", usage: Usage | None = None) -> None:
        """Turn active `key` into committed `name`; `usage` saves counting it.

        `parent` puts a stacked snapshot that was prepared on "" onto a committed one: that is how the layers of one
        image unpack at the same time. Raises AlreadyExists when `name` is committed (the active stays, for its owner
        to remove), NotFound (key, parent), FailedPrecondition (a view; a copied or stacked snapshot that cannot move).
        """

    def exchange(self, name: str, key: str) -> None:
        """Give committed `name` the files of active `key`, and `key`, which has no parent, those of `name`.

        Raises NotFound, FailedPrecondition while an active or a view stands on `name`: it could be mounted.
        """

    def remove(self, key: str) -> None:
        """Remove a snapshot of any kind: its name is free, its files go with the next `cleanup`, which can take long.

        Raises NotFound, FailedPrecondition when it has children.
        """

    def stat(self, key: str) -> SnapshotInfo:
        """Raises NotFound."""

    def usage(self, key: str) -> Usage:
        """Stored for committed snapshots, counted for active ones. Raises NotFound."""

    def walk(self) -> Iterator[SnapshotInfo]:
        """All snapshots, children after their parents."""

    def sync(self) -> None:
        """Make every committed snapshot durable: one syncfs of the store's filesystem."""

    def cleanup(self) -> None:
        """Delete the files of removed snapshots, and what the store found half made or half removed when it was opened.

        What cannot be deleted (OSError) is tried again the next time.
        """
