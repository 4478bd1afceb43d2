"""What no image and no running pull needs is removed: blobs, snapshots of layers, what crashes left.

A snapshot that a container stands on has a child and stays, with all below it, until a later collection.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from core.content.content import ContentStore
from core.errdefs import FailedPrecondition, NotFound, Unavailable
from core.images.blocking import Blocking
from core.images.holds import Holds
from core.images.images import Image, ImageStore
from core.images.layers import EXTRACT
from core.log import get_logger
from core.snapshots.snapshotter import Kind, Snapshotter

log = get_logger(__name__)

INGEST_LIFE = 24 * 3600.0  # seconds that a broken-off transfer is kept for a pull to go on with, as the peers do
_CHAIN_ID = "sha256:"  # what names of layers begin with; other committed snapshots are somebody else's


class Collector:
    def __init__(
        self,
        *,
        images: ImageStore,
        content: ContentStore,
        snapshots: Snapshotter,
        holds: Holds,
        blocking: Blocking,
        clock: Callable[[], float],
    ) -> None:
        """`clock` tells the seconds since the epoch."""
        self._images = images
        self._content = content
        self._snapshots = snapshots
        self._holds = holds
        self._blocking = blocking
        self._clock = clock

    async def collect(self) -> None:
        """Remove what nobody needs; it is gone when this returns. Pulls that begin meanwhile wait."""
        async with self._holds.collecting() as held:
            needed = held.union(*map(names_of, self._images.list()))
            await self._blocking(self._sweep, needed)

    def _sweep(self, needed: AbstractSet[str]) -> None:
        for snapshot in reversed(list(self._snapshots.walk())):  # children before their parents
            is_layer = snapshot.kind is Kind.COMMITTED and snapshot.name.startswith(_CHAIN_ID)
            if snapshot.name not in needed and (is_layer or snapshot.name.startswith(EXTRACT)):
                with contextlib.suppress(NotFound, FailedPrecondition):
                    self._snapshots.remove(snapshot.name)
        for blob in self._content.walk():
            if blob.digest not in needed:
                with contextlib.suppress(NotFound):
                    self._content.delete(blob.digest)
        for ingest in list(self._content.ingests()):
            if self._clock() - ingest.updated_at > INGEST_LIFE:
                with contextlib.suppress(NotFound, Unavailable):
                    self._content.remove_ingest(ingest.ref)


def names_of(image: Image) -> set[str]:
    """Blobs and snapshots that `image` needs: documents, layers, chain ids, and the indexes that it was pulled by."""
    indexes = {digest for _, at, digest in (name.partition("@") for name in image.names) if at}
    layers = {layer.digest for layer in image.layers}
    return {image.id, image.target.digest, *layers, *image.chain_ids, *indexes}
