"""One layer's bytes into one active snapshot, in a child of the zygote."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from core.content.content import ContentStore
from core.diff.whiteouts import Mode
from core.errdefs import CrispError, DataLoss, InvalidArgument, NotFound
from core.images.blocking import Blocking
from core.images.flights import Flight
from core.images.progress import LayerState, Phase
from core.images.source import Source
from core.images.transfer import Inherited, Transfer, Transfers
from core.snapshots.snapshotter import Layering, Snapshotter, Usage
from core.types import Descriptor, Digest
from core.zygote.zygote import Zygote

UNPACK_DEADLINE = 24 * 3600.0  # seconds: as long as the slowest transfer, which has limits of its own
SETTLE_DEADLINE = 600.0  # seconds for work on metadata and a few copies


class TryAgain(CrispError):
    """It failed by what somebody else had brought; that is gone, and nothing says that we should fail, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What to unpack, and what must come of it."""

    blob: Descriptor
    diff_id: Digest
    parent: str
    """Chain id of all below it, "" for the lowest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    usage: Usage
    is_settled: bool
    """Whether nothing is left to do in a stacked layer once those below are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """See job "compare"."""

    problems: tuple[str, ...]
    count: int


class Unpacker:
    def __init__(
        self,
        content: ContentStore,
        snapshots: Snapshotter,
        zygote: Zygote,
        blocking: Blocking,
        transfers: Transfers,
    ) -> None:
        """`transfers` are those of all unpackers, since a blob is fetched once."""
        self._content = content
        self._snapshots = snapshots
        self._zygote = zygote
        self._blocking = blocking
        self._transfers = transfers

    async def unpack(self, source: Source, layer: Layer, key: str, state: LayerState) -> Unpacked:
        """Unpack `layer` into active snapshot `key`, fetching it if needed; both digests are right afterwards.

        Raises DataLoss (a digest, damaged compression), InvalidArgument (an entry), ResourceExhausted, TryAgain, and
        what the registry raises.
        """
        directory = await self._blocking(os.open, self._snapshots.upper(key), os.O_RDONLY | os.O_DIRECTORY)
        try:
            blob = await self._blocking(self._open_blob, layer.blob.digest)
            if blob is None:
                result = await self._fetch_and_unpack(source, layer, directory, state)
            else:
                state.phase = Phase.UNPACKING
                with blob:
                    result = await self._run(layer, (blob.fileno(), directory))
        finally:
            os.close(directory)
        if result["diff_id"] != layer.diff_id:
            raise DataLoss(
                f"layer {layer.blob.digest}: unpacked it is {result['diff_id']}, and the image says {layer.diff_id}"
            )
        return Unpacked(usage=_usage(result), is_settled=not result["unsettled"])

    async def fetch(self, source: Source, blob: Descriptor, state: LayerState) -> None:
        """Have `blob` in the content store. Raises DataLoss and what the registry raises."""
        with contextlib.suppress(NotFound):
            await self._blocking(self._content.info, blob.digest)
            return
        async with self._transfers.join(source, blob, Transfer()) as flight:
            state.phase, state.arriving = Phase.DOWNLOADING, flight.subject
            try:
                await flight.wait()
            finally:
                state.arriving = None

    async def settle(self, parent: str, key: str, unpacked: Unpacked) -> Usage:
        """Finish in `key` what could not be done before `parent` was committed; the usage of all of it."""
        if unpacked.is_settled:
            return unpacked.usage
        lowers = self._snapshots.lowers(parent)
        directory = await self._blocking(os.open, self._snapshots.upper(key), os.O_RDONLY | os.O_DIRECTORY)
        try:
            added = await self._zygote.run("settle", {"lowers": lowers}, fds=(directory,), deadline=SETTLE_DEADLINE)
        finally:
            os.close(directory)
        usage = _usage(added)
        return Usage(size=unpacked.usage.size + usage.size, inodes=unpacked.usage.inodes + usage.inodes)

    async def compare(self, blobs: Sequence[Digest], name: str) -> Difference:
        """How snapshot `name` differs from layers `blobs` that are here: its own one, or where layers are copied all
        up to it. Raises NotFound, DataLoss, InvalidArgument, ResourceExhausted."""
        is_stacked = self._snapshots.layering is Layering.STACKED and bool(self._snapshots.stat(name).parent)
        args = {"layers": [self._content.path(blob) for blob in blobs], "stacked": is_stacked}
        directory = await self._blocking(os.open, self._snapshots.upper(name), os.O_RDONLY | os.O_DIRECTORY)
        try:
            result = await self._zygote.run("compare", args, fds=(directory,), deadline=UNPACK_DEADLINE)
        finally:
            os.close(directory)
        return Difference(problems=tuple(result["problems"]), count=result["count"])

    async def _fetch_and_unpack(
        self, source: Source, layer: Layer, directory: int, state: LayerState
    ) -> Mapping[str, Any]:
        ours = Transfer()
        async with self._transfers.join(source, layer.blob, ours) as flight:
            state.phase, state.arriving = Phase.DOWNLOADING, flight.subject
            try:
                async with asyncio.TaskGroup() as group:
                    unpacking = group.create_task(self._read_along(flight, layer, directory))
                    await flight.wait()
                    state.phase = Phase.UNPACKING
            except BaseExceptionGroup as errors:
                error = first_error(errors)
                is_ours = flight.subject is ours and not isinstance(error, Inherited)
                raise error if is_ours else TryAgain(str(error)) from None
            finally:
                state.arriving = None
            return unpacking.result()

    async def _read_along(self, flight: Flight[Transfer, None], layer: Layer, directory: int) -> Mapping[str, Any]:
        try:
            async with flight.subject.follow() as (file, pipe):
                return await self._run(layer, (file, directory, pipe))
        except (DataLoss, InvalidArgument):
            await flight.wait()  # if what came is not the blob, that is the error, and nobody must go on from it
            raise

    async def _run(self, layer: Layer, fds: Sequence[int]) -> Mapping[str, Any]:
        return await self._zygote.run("unpack", {"mode": self._mode(layer)}, fds=fds, deadline=UNPACK_DEADLINE)

    def _mode(self, layer: Layer) -> str:
        if not layer.parent:
            return Mode.BASE
        return Mode.STACKED if self._snapshots.layering is Layering.STACKED else Mode.COPIED

    def _open_blob(self, digest: Digest) -> BinaryIO | None:
        try:
            return open(self._content.path(digest), "rb", 0)
        except (NotFound, FileNotFoundError):
            return None


def _usage(result: Mapping[str, Any]) -> Usage:
    return Usage(size=result["size"], inodes=result["inodes"])


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; the others are what that led to."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
