"""A blob on its way into the content store, which unpackers read along."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from core.content.content import ContentStore, Writer
from core.errdefs import DataLoss
from core.images.blocking import Blocking
from core.images.flights import Flight, Flights
from core.images.source import Source
from core.steps import step
from core.types import Descriptor, Digest

_OFFSET = struct.Struct("<Q")  # what core.diff.source.GrowingFile reads


class Inherited(DataLoss):
    """A blob is wrong, but its first bytes are of an earlier transfer, which may have had another registry.

    They are gone: the next transfer starts from nothing.
    """


class Transfer:
    """How far a blob is, and who reads along."""

    def __init__(self) -> None:
        self.offset = 0
        """Bytes that are in the ingest."""
        self._fd = -1
        self._begun = asyncio.Event()
        self._is_complete = False
        self._followers: set[asyncio.WriteTransport] = set()

    def __del__(self) -> None:
        """Close the file with the last who is on board: by then the ingest may be a blob elsewhere, or gone."""
        if self._fd >= 0:
            os.close(self._fd)

    @contextlib.asynccontextmanager
    async def follow(self) -> AsyncIterator[Sequence[int]]:
        """Descriptors for a reader: the growing file, and a pipe that tells how far it may be read."""
        await self._begun.wait()
        pipe, sink = os.pipe()
        try:
            # The transport keeps offsets that a slow reader has not taken: eight bytes for each write to the disk.
            follower = await _open_sink(sink)
            self._welcome(follower)
            try:
                yield self._fd, pipe
            finally:
                self._followers.discard(follower)
                if not follower.is_closing():
                    follower.abort()
        finally:
            os.close(pipe)

    def begin(self, path: str, offset: int) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.offset = offset
        self._begun.set()

    def advance(self, offset: int) -> None:
        """Bytes up to `offset` are in the file."""
        self.offset = offset
        for follower in self._followers:
            _tell(follower, offset)

    def complete(self) -> None:
        """No more bytes will come: readers see the end."""
        self._is_complete = True
        for follower in self._followers:
            follower.close()

    def _welcome(self, follower: asyncio.WriteTransport) -> None:
        self._followers.add(follower)
        _tell(follower, self.offset)
        if self._is_complete:
            follower.close()


async def _open_sink(fd: int) -> asyncio.WriteTransport:
    """Own `fd`, the writing end of a pipe."""
    file = os.fdopen(fd, "wb", 0)
    try:
        transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, file)
    except BaseException:
        file.close()
        raise
    return transport


def _tell(follower: asyncio.WriteTransport, offset: int) -> None:
    if not follower.is_closing():
        follower.write(_OFFSET.pack(offset))


class Transfers:
    """Fetches blobs, each once at a time, however many pulls want it."""

    def __init__(self, content: ContentStore, blocking: Blocking) -> None:
        self._content = content
        self._blocking = blocking
        self._flights: Flights[Digest, Transfer, None] = Flights()

    def join(
        self, source: Source, descriptor: Descriptor, ours: Transfer
    ) -> contextlib.AbstractAsyncContextManager[Flight[Transfer, None]]:
        """Fetch `descriptor` from `source` as `ours`, or be on board when it is being fetched already.

        The flight ends when the blob is in the content store. What has come stays for a later transfer to go on with,
        but for what turned out to be wrong (DataLoss; Inherited when that may not be this transfer's fault).
        """
        return self._flights.join(descriptor.digest, lambda: ours, lambda it: self._fetch(it, source, descriptor))

    async def _fetch(self, transfer: Transfer, source: Source, descriptor: Descriptor) -> None:
        writer = await self._open(descriptor)
        inherited = writer.offset
        try:
            transfer.begin(writer.path, writer.offset)
            with step("fetch"):
                async with aclosing(source.blob(descriptor, writer.offset)) as body:
                    async for data in body:
                        await self._blocking(writer.write, data)
                        transfer.advance(writer.offset)
            transfer.complete()
            with step("commit"):
                await self._blocking(writer.commit, descriptor.size, descriptor.digest)
        except DataLoss as exc:
            await self._blocking(writer.abort)
            raise Inherited(str(exc)) if inherited else exc from None
        except BaseException:
            await self._blocking(writer.close)
            raise

    async def _open(self, descriptor: Descriptor) -> Writer:
        ref = f"layer-{descriptor.digest}"
        writer = await self._blocking(self._content.writer, ref)
        if writer.offset > descriptor.size:  # an image that names the digest with a wrong size has been here
            await self._blocking(writer.abort)
            writer = await self._blocking(self._content.writer, ref)
        return writer
