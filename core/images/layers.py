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
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from core.content.content import ContentStore
from core.diff.whiteouts import Mode
from core.errdefs import AlreadyExists, DataLoss, InvalidArgument, NotFound
from core.images.blocking import Blocking
from core.images.flights import Flight, Flights
from core.images.holds import Holds
from core.images.progress import LayerState, Phase
from core.images.transfer import Transfer, Transfers
from core.remotes.registry import Repository
from core.snapshots.snapshotter import Kind, Layering, Snapshotter, Usage
from core.types import Descriptor, Digest
from core.zygote.zygote import Zygote

EXTRACT = "extract-"
"""What keys of snapshots begin with while a layer is unpacked into them."""

UNPACK_DEADLINE = 24 * 3600.0  # seconds: as long as the slowest transfer, which has limits of its own
SETTLE_DEADLINE = 600.0  # seconds for work on metadata and a few copies


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The layers of one image, the lowest first, and who pulls them."""

    repository: Repository
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]
    chain_ids: tuple[str, ...]
    slots: asyncio.Semaphore
    """How many of them are fetched and unpacked at once."""

    def parent(self, depth: int) -> str:
        return self.chain_ids[depth - 1] if depth else ""


class Layers:
    """Makes snapshots of layers, each once at a time."""

    def __init__(
        self, content: ContentStore, snapshots: Snapshotter, zygote: Zygote, holds: Holds, blocking: Blocking
    ) -> None:
        self._holds = holds
        self._content = content
        self._snapshots = snapshots
        self._zygote = zygote
        self._blocking = blocking
        self._transfers = Transfers(content, blocking)
        self._flights: Flights[str, LayerState, None] = Flights()

    def is_unpacked(self, chain_id: str) -> bool:
        """Answered from memory."""
        try:
            return self._snapshots.stat(chain_id).kind is Kind.COMMITTED
        except NotFound:
            return False

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
            raise _first(group) from None
        return bool(missing)

    async def _want(self, stack: Stack, depth: int, states: list[LayerState] | None = None) -> None:
        chain_id = stack.chain_ids[depth]
        if self.is_unpacked(chain_id):
            return
        layer = stack.layers[depth]
        async with self._flights.join(
            chain_id, lambda: LayerState(layer), lambda state: self._make(stack, depth, state)
        ) as flight:
            if states:
                states[depth] = flight.subject
            await flight.wait()

    async def _make(self, stack: Stack, depth: int, state: LayerState) -> None:
        stacked = self._snapshots.layering is Layering.STACKED
        if depth and not stacked:
            await self._want(stack, depth - 1)
        async with self._extraction(stack, depth) as key:
            async with stack.slots:
                result = await self._extract(stack, depth, key, state)
            if depth and stacked:
                await self._want(stack, depth - 1)
                result = await self._settle(stack, depth, key, result)
            usage = Usage(size=result["size"], inodes=result["inodes"])
            parent = stack.parent(depth) if stacked else ""
            with contextlib.suppress(AlreadyExists):
                await self._blocking(
                    self._snapshots.commit, stack.chain_ids[depth], key, parent=parent, usage=usage
                )
        state.phase = Phase.DONE

    @contextlib.asynccontextmanager
    async def _extraction(self, stack: Stack, depth: int) -> AsyncIterator[str]:
        """An active snapshot, removed at the end unless it was committed."""
        parent = "" if self._snapshots.layering is Layering.STACKED else stack.parent(depth)
        key = f"{EXTRACT}{secrets.token_hex(8)} {stack.chain_ids[depth]}"
        async with self._holds.hold() as hold:
            await hold.add(key)
            try:
                await self._blocking(self._snapshots.prepare, key, parent)
                yield key
            finally:
                with contextlib.suppress(NotFound):
                    await self._blocking(self._snapshots.remove, key)

    async def _extract(self, stack: Stack, depth: int, key: str, state: LayerState) -> Mapping[str, Any]:
        """Unpack the layer into `key`, fetching it if needed; both digests are right afterwards."""
        directory = await self._blocking(os.open, self._snapshots.upper(key), os.O_RDONLY | os.O_DIRECTORY)
        try:
            mode = self._mode(depth)
            blob = await self._blocking(self._open_blob, stack.layers[depth].digest)
            if blob is None:
                result = await self._fetch_and_unpack(stack, depth, mode, directory, state)
            else:
                state.phase = Phase.UNPACKING
                with blob:
                    result = await self._run_unpack(mode, (blob.fileno(), directory))
        finally:
            os.close(directory)
        if result["diff_id"] != stack.diff_ids[depth]:
            raise DataLoss(
                f"layer {stack.layers[depth].digest}: unpacked it is {result['diff_id']}, "
                f"and the image says {stack.diff_ids[depth]}"
            )
        return result

    async def _fetch_and_unpack(
        self, stack: Stack, depth: int, mode: str, directory: int, state: LayerState
    ) -> Mapping[str, Any]:
        async with self._transfers.join(stack.repository, stack.layers[depth]) as flight:
            state.phase, state.arriving = Phase.DOWNLOADING, flight.subject
            try:
                async with asyncio.TaskGroup() as group:
                    unpacking = group.create_task(self._read_along(flight, mode, directory))
                    await flight.wait()
                    state.phase = Phase.UNPACKING
            except BaseExceptionGroup as errors:
                raise _first(errors) from None
            finally:
                state.arriving = None
            return unpacking.result()

    async def _read_along(self, flight: Flight[Transfer, None], mode: str, directory: int) -> Mapping[str, Any]:
        try:
            async with flight.subject.follow() as (file, pipe):
                return await self._run_unpack(mode, (file, directory, pipe))
        except (DataLoss, InvalidArgument):
            await flight.wait()  # if what came is not the blob, that is the error, and nobody must go on from it
            raise

    async def _run_unpack(self, mode: str, fds: Sequence[int]) -> Mapping[str, Any]:
        return await self._zygote.run("unpack", {"mode": mode}, fds=fds, deadline=UNPACK_DEADLINE)

    async def _settle(self, stack: Stack, depth: int, key: str, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """Finish what could not be done before the layers below were there; the result with what that added."""
        if not result["unsettled"]:
            return result
        lowers = self._snapshots.lowers(stack.parent(depth))
        directory = await self._blocking(os.open, self._snapshots.upper(key), os.O_RDONLY | os.O_DIRECTORY)
        try:
            added = await self._zygote.run("settle", {"lowers": lowers}, fds=(directory,), deadline=SETTLE_DEADLINE)
        finally:
            os.close(directory)
        return {"size": result["size"] + added["size"], "inodes": result["inodes"] + added["inodes"]}

    def _mode(self, depth: int) -> str:
        if depth == 0:
            return Mode.BASE
        return Mode.STACKED if self._snapshots.layering is Layering.STACKED else Mode.COPIED

    def _open_blob(self, digest: Digest) -> BinaryIO | None:
        try:
            return open(self._content.path(digest), "rb", 0)
        except (NotFound, FileNotFoundError):
            return None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; the others are what that led to."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
