"""What no image and no running pull needs is removed: blobs, snapshots of layers, what crashes left.

A snapshot that a container stands on has a child and stays, with all below it, until a later collection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Protocol

from core.content.content import ContentStore
from core.errdefs import FailedPrecondition, NotFound, Unavailable
from core.failpoint import failpoint
from core.images.blocking import Blocking
from core.images.holds import Holds
from core.images.images import Image, ImageStore
from core.images.layers import EXTRACT
from core.log import get_logger
from core.snapshots.snapshotter import Kind, SnapshotInfo, Snapshotter
from core.snapshots.snapshotters import Snapshotters
from core.telemetry import SILENT, Telemetry, timed
from core.types import Digest

log = get_logger(__name__)

INGEST_LIFE = 24 * 3600.0  # seconds that a broken-off transfer is kept for a pull to go on with, as the peers do
_CHAIN_ID = "sha256:"  # what names of layers begin with; other committed snapshots are somebody else's


class References(Protocol):
    """See core.metadata.content_labels.ContentLabels."""

    def kept(self, roots: AbstractSet[str], held: AbstractSet[str]) -> AbstractSet[str]: ...

    async def forget(self, blobs: Iterable[str]) -> None: ...


class Collector:
    def __init__(
        self,
        *,
        images: ImageStore,
        content: ContentStore,
        snapshotters: Snapshotters,
        holds: Holds,
        blocking: Blocking,
        clock: Callable[[], float],
        expire: Callable[[], Awaitable[None]],
        references: References | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        """`clock` tells the seconds since the epoch; `expire` lets go of what is held for too long. `references` are
        those that clients told of."""
        self._images = images
        self._content = content
        self._snapshotters = snapshotters
        self._holds = holds
        self._blocking = blocking
        self._clock = clock
        self._expire = expire
        self._references = references
        self._telemetry = telemetry
        self._turn = asyncio.Lock()  # of one collection after the other: each returns when all of it is gone

    async def collect(self) -> None:
        """Remove what nobody needs; it is gone when this returns. Pulls wait only for what they want themselves."""
        async with self._turn:
            with timed(self._telemetry.collected):
                await self._collect()

    async def _collect(self) -> None:
        await self._expire()
        needed = self._needed()
        for snapshots in self._snapshotters.named.values():
            for layer in await self._blocking(_unneeded_layers, snapshots, needed):
                await self._remove(layer, partial(snapshots.remove, layer))
        for blob in await self._blocking(self._unneeded_blobs, needed):
            await self._remove_blob(blob)
        await self._blocking(self._remove_old_ingests)
        await self._blocking(self._snapshotters.cleanup)

    def _needed(self) -> AbstractSet[str]:
        images = self._images.list()
        needed = set[str]().union(*map(names_of, images))
        if self._references is None:
            return needed
        active = (one.name for one in self._snapshotters.walk() if not _is_layer(one))
        roots = {*needed, *(name for image in images for name in image.names), *active}
        return self._references.kept(roots, self._holds.names())

    async def remove_blob(self, blob: Digest) -> bool:
        """Remove it unless somebody needs it; whether it is gone."""
        async with self._turn:
            return await self._remove_blob(blob)

    async def _remove_blob(self, blob: Digest) -> bool:
        is_gone = await self._remove(blob, partial(self._content.delete, blob))
        if is_gone and self._references:
            await self._references.forget([blob])
        return is_gone

    async def _remove(self, name: str, remove: Callable[[], None]) -> bool:
        """Unless somebody needs it by now: pulls go on while other things are removed. What the disk will not let go
        is left to the next collection."""
        if name in self._holds or any(name in names_of(image) for image in self._images.list()):
            return False
        with self._holds.removing(name), contextlib.suppress(NotFound, FailedPrecondition):
            try:
                await self._blocking(remove)
                failpoint("image.collect.removed")
            except OSError as exc:
                log.warning("not collected", name=name, error=exc)
                return False
        return True

    def _unneeded_blobs(self, needed: AbstractSet[str]) -> list[Digest]:
        return [blob.digest for blob in self._content.walk() if blob.digest not in needed]

    def _remove_old_ingests(self) -> None:
        for ingest in list(self._content.ingests()):
            if abs(self._clock() - ingest.updated_at) > INGEST_LIFE:  # a clock that was set back makes it of tomorrow
                with contextlib.suppress(NotFound, Unavailable):
                    self._content.remove_ingest(ingest.ref)


def _unneeded_layers(snapshots: Snapshotter, needed: AbstractSet[str]) -> list[str]:
    """Children before their parents; what broken-off pulls left is among them."""
    return [
        snapshot.name
        for snapshot in reversed(list(snapshots.walk()))
        if snapshot.name not in needed and _is_layer(snapshot)
    ]


def _is_layer(snapshot: SnapshotInfo) -> bool:
    is_committed = snapshot.kind is Kind.COMMITTED and snapshot.name.startswith(_CHAIN_ID)
    return is_committed or snapshot.name.startswith(EXTRACT)


def names_of(image: Image) -> set[str]:
    """Blobs and snapshots that `image` needs: documents, layers, chain ids, and the indexes that it was pulled by."""
    indexes = {digest for _, at, digest in (name.partition("@") for name in image.names) if at}
    layers = {layer.digest for layer in image.layers}
    return {image.id, image.target.digest, *layers, *image.chain_ids, *indexes}
