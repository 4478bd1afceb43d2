"""Layers become snapshots: fetched, unpacked as they come, committed from the lowest up.

    flight of a chain id ─┬─ transfer of the blob ──── ingest ═══ commit ──▶ blob
                          └─ unpacker (zygote child) ──┴─ reads along ──▶ snapshot "extract-<random> <chain id>"
                             both digests right, parent committed ──▶ snapshot "<chain id>"

Layers of one image unpack at the same time where the snapshotter stacks them; where it copies, each waits for the one
below. What a crash leaves: an ingest, with which the next pull goes on; blobs without an image; a snapshot `extract-*`;
committed snapshots without an image, which the next pull uses. `core.images.gc` removes what nobody wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from core.content.content import ContentStore
from core.errdefs import AlreadyExists, CrispError, NotFound
from core.images.blocking import Blocking
from core.images.flights import Flights
from core.images.holds import Holds
from core.images.progress import LayerState, Phase
from core.images.source import Source
from core.images.transfer import Transfers
from core.images.unpacker import Difference, Layer, TryAgain, Unpacker, first_error
from core.log import get_logger
from core.snapshots.snapshotter import Kind, Layering, Snapshotter
from core.steps import step
from core.types import Descriptor, Digest
from core.zygote.zygote import Zygote

log = get_logger(__name__)

EXTRACT = "extract-"
"""What keys of snapshots begin with while a layer is unpacked into them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The layers of one image, the lowest first, and who pulls them."""

    source: Source
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]
    chain_ids: tuple[str, ...]
    slots: asyncio.Semaphore
    """How many of them are fetched and unpacked at once."""

    def layer(self, depth: int) -> Layer:
        return Layer(blob=self.layers[depth], diff_id=self.diff_ids[depth], parent=self.parent(depth))

    def parent(self, depth: int) -> str:
        return self.chain_ids[depth - 1] if depth else ""


class Layers:
    """Makes snapshots of layers, each once at a time."""

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
        self._holds = holds
        self._snapshots = snapshots
        self._blocking = blocking
        self._unpacker = Unpacker(content, snapshots, zygote, blocking, transfers)
        self._flights: Flights[str, LayerState, None] = Flights()

    def is_unpacked(self, chain_id: str) -> bool:
        """Answered from memory."""
        try:
            return self._snapshots.stat(chain_id).kind is Kind.COMMITTED
        except NotFound:
            return False

    async def fetch(self, source: Source, blob: Descriptor, state: LayerState) -> None:
        """Have `blob` in the content store, and nothing else. Raises DataLoss and what the registry raises."""
        await self._unpacker.fetch(source, blob, state)

    async def unpack(self, stack: Stack, states: list[LayerState]) -> bool:
        """Make the snapshots of `stack` that are missing; whether there were any. `states` follows what happens.

        Raises DataLoss (a digest, damaged compression), InvalidArgument (an entry), ResourceExhausted, Unavailable, …
        """
        missing = [depth for depth, chain_id in enumerate(stack.chain_ids) if not self.is_unpacked(chain_id)]
        for depth, layer in enumerate(stack.layers):
            states.append(LayerState(layer, Phase.WAITING if depth in missing else Phase.DONE))
        try:
            async with asyncio.TaskGroup() as group:
                for depth in missing:
                    group.create_task(self._want(stack, depth, states))
        except BaseExceptionGroup as group:
            raise first_error(group) from None
        return bool(missing)

    async def _want(self, stack: Stack, depth: int, states: list[LayerState] | None = None) -> None:
        """Return once the snapshot is there. Another pull's failure is not ours: its registry may be to blame."""
        while not self.is_unpacked(stack.chain_ids[depth]):
            await self._try(stack, depth, states)

    async def _try(self, stack: Stack, depth: int, states: list[LayerState] | None) -> None:
        chain_id, ours = stack.chain_ids[depth], LayerState(stack.layers[depth])
        async with self._flights.join(chain_id, lambda: ours, lambda state: self._make(stack, depth, state)) as flight:
            if states:
                states[depth] = flight.subject
            try:
                await flight.wait()
            except CrispError as exc:
                if flight.subject is ours and not isinstance(exc, TryAgain):
                    raise
                log.info("layer is tried again", chain_id=chain_id, reason=exc)

    async def _make(self, stack: Stack, depth: int, state: LayerState) -> None:
        with step(f"layer {stack.layers[depth].digest[7:19]}"):
            await self._make_snapshot(stack, depth, state)
        state.phase = Phase.DONE

    async def _make_snapshot(self, stack: Stack, depth: int, state: LayerState) -> None:
        stacked, parent = self._is_stacked, stack.parent(depth)
        if parent and not stacked:
            await self._want(stack, depth - 1)
        async with self.extraction(stack.chain_ids[depth], "" if stacked else parent) as key:
            async with stack.slots:
                unpacked = await self._unpacker.unpack(stack.source, stack.layer(depth), key, state)
            usage = unpacked.usage
            if parent and stacked:
                with step("layers below"):
                    await self._want(stack, depth - 1)
                usage = await self._unpacker.settle(parent, key, unpacked)
            with contextlib.suppress(AlreadyExists):
                await self._blocking(
                    self._snapshots.commit, stack.chain_ids[depth], key, parent=parent if stacked else "", usage=usage
                )

    async def difference(self, stack: Stack, depth: int) -> Difference:
        """How the snapshot at `depth` differs from the layers that it was made of, whose blobs are here."""
        blobs = [stack.layers[one].digest for one in self._parts(depth)]
        return await self._unpacker.compare(blobs, stack.chain_ids[depth])

    async def remake(self, stack: Stack, depth: int) -> None:
        """Unpack the snapshot at `depth` anew, in the place of what is there.

        Raises FailedPrecondition when a container stands on it, DataLoss, ResourceExhausted.
        """
        chain_id, parent = stack.chain_ids[depth], stack.parent(depth)
        async with self.extraction(chain_id, "") as key:
            for one in self._parts(depth):
                state = LayerState(stack.layers[one])
                unpacked = await self._unpacker.unpack(stack.source, stack.layer(one), key, state)
            if parent and self._is_stacked:
                await self._unpacker.settle(parent, key, unpacked)
            await self._blocking(self._snapshots.exchange, chain_id, key)
            await self._blocking(self._snapshots.sync)

    def mounted(self, stack: Stack) -> range:
        """The depths whose own snapshots a container would see: all of an overlay's, the last copy."""
        return range(len(stack.layers)) if self._is_stacked else range(len(stack.layers) - 1, len(stack.layers))

    def _parts(self, depth: int) -> range:
        """The layers whose files the snapshot at `depth` has itself."""
        return range(depth if self._is_stacked else 0, depth + 1)

    @property
    def _is_stacked(self) -> bool:
        return self._snapshots.layering is Layering.STACKED

    @contextlib.asynccontextmanager
    async def extraction(self, chain_id: str, parent: str) -> AsyncIterator[str]:
        """An active snapshot, removed at the end unless it was committed."""
        key = f"{EXTRACT}{secrets.token_hex(8)} {chain_id}"
        async with self._holds.hold() as hold:
            await hold.add(key)
            try:
                await self._blocking(self._snapshots.prepare, key, parent)
                yield key
            finally:
                with contextlib.suppress(NotFound):
                    await self._blocking(self._snapshots.remove, key)
                    await self._blocking(self._snapshots.cleanup)
