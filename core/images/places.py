"""Where images are unpacked: one snapshotter, and those who fill it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from core.content.content import ContentStore
from core.images.artifacts import Artifacts
from core.images.blocking import Blocking
from core.images.holds import Holds
from core.images.images import Image
from core.images.layers import Layers, Stack
from core.images.progress import LayerState
from core.images.source import Source
from core.images.transfer import Transfers
from core.snapshots.snapshotter import Snapshotter
from core.snapshots.snapshotters import Snapshotters
from core.steps import step
from core.types import Digest
from core.zygote.zygote import Zygote


class Place:
    def __init__(
        self,
        content: ContentStore,
        snapshots: Snapshotter,
        zygote: Zygote,
        holds: Holds,
        blocking: Blocking,
        *,
        transfers: Transfers,
    ) -> None:
        """`transfers` are those of all places, since a blob is fetched once."""
        self._snapshots = snapshots
        self._blocking = blocking
        self.layers = Layers(content, snapshots, zygote, holds, blocking, transfers=transfers)
        self._artifacts = Artifacts(content, snapshots, self.layers, blocking)

    def has(self, image: Image) -> bool:
        """Answered from memory."""
        return all(map(self.layers.is_unpacked, image.chain_ids))

    async def unpack(
        self,
        source: Source,
        image: Image,
        diff_ids: Sequence[Digest],
        *,
        at_once: int,
        states: list[LayerState],
    ) -> None:
        """Make the snapshots of `image` that are missing, `at_once` of them at a time, and bring them to disk.

        An artifact has no `diff_ids`. `states` follows what happens. Raises DataLoss (a digest, damaged compression),
        InvalidArgument (an entry, a title), ResourceExhausted, Unavailable, and what the registry raises.
        """
        if image.artifact_type:
            is_new = await self._artifacts.make(source, image, asyncio.Semaphore(at_once), states)
        else:
            is_new = await self.layers.unpack(stack_of(source, image, diff_ids, at_once=at_once), states)
        if is_new:
            with step("sync"):
                await self._blocking(self._snapshots.sync)


def stack_of(source: Source, image: Image, diff_ids: Sequence[Digest], *, at_once: int = 1) -> Stack:
    """The layers of `image`, which is no artifact."""
    return Stack(
        source=source,
        layers=image.layers,
        diff_ids=tuple(diff_ids),
        chain_ids=image.chain_ids,
        slots=asyncio.Semaphore(at_once),
    )


class Places:
    """One for each of the node's snapshotters."""

    def __init__(
        self, content: ContentStore, snapshotters: Snapshotters, zygote: Zygote, holds: Holds, blocking: Blocking
    ) -> None:
        transfers = Transfers(content, blocking)
        self._snapshotters = snapshotters
        self.named = {
            name: Place(content, snapshots, zygote, holds, blocking, transfers=transfers)
            for name, snapshots in snapshotters.named.items()
        }

    def name(self, snapshotter: str) -> str:
        """See Snapshotters.name."""
        return self._snapshotters.name(snapshotter)

    def get(self, snapshotter: str) -> Place:
        """By the snapshotter's name, "" for the default one. Raises NotFound."""
        return self.named[self._snapshotters.name(snapshotter)]
