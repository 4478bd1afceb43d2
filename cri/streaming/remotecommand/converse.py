"""Carry the bytes between a client and the streams of a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from core.errdefs import FailedPrecondition
from core.log import get_logger
from core.tasks.streams import ByteSink, ByteSource, ExecStreams, Streams
from cri.streaming.remotecommand.client import Client
from cri.streaming.remotecommand.resize import SizeReader

log = get_logger(__name__)

CHUNK = 32 << 10
"""Bytes that are carried at once: one frame of the client's."""


async def converse_exec(streams: ExecStreams, client: Client) -> int:
    """Carry until the process has ended and all it wrote was sent; its exit code.

    Raises Cancelled when the client is gone, and what the streams raise.
    """
    async with _tasks() as group:
        inputs = _carry_in(group, streams, client)
        await asyncio.wait(_carry_out(group, streams, client))
        code = await streams.wait()
        for task in inputs:
            task.cancel()
    return code


async def converse_attach(streams: Streams, client: Client) -> None:
    """Carry until the container's output has ended; without output, until the client's input has. Raises as above."""
    async with _tasks() as group:
        typing, sizes = _carry_in(group, streams, client)
        await asyncio.wait(_carry_out(group, streams, client) if streams.stdout or streams.stderr else [typing])
        typing.cancel()
        sizes.cancel()


@contextlib.asynccontextmanager
async def _tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises the first error of its tasks itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _carry_in(group: asyncio.TaskGroup, streams: Streams, client: Client) -> list[asyncio.Task[None]]:
    return [group.create_task(_type(client, streams)), group.create_task(_resize(client, streams))]


def _carry_out(group: asyncio.TaskGroup, streams: Streams, client: Client) -> list[asyncio.Task[None]]:
    pairs = ((streams.stdout, client.stdout), (streams.stderr, client.stderr))
    return [group.create_task(_show(source, sink)) for source, sink in pairs]


async def _show(source: ByteSource | None, sink: ByteSink | None) -> None:
    """Send what the process writes."""
    if source is None or sink is None:
        return
    while data := await source.read(CHUNK):
        await sink.write(data)
    await sink.close()


async def _type(client: Client, streams: Streams) -> None:
    """Hand what the client sends to the process, then the end of it; drop what the process does not want any more."""
    if client.stdin is None:
        return
    sink = streams.stdin
    while data := await client.stdin.read(CHUNK):
        if sink:
            try:
                await sink.write(data)
            except FailedPrecondition:
                sink = None
    if sink:
        await sink.close()


async def _resize(client: Client, streams: Streams) -> None:
    """Follow the size of the client's terminal. Of sizes that come together only the last one counts."""
    if client.resize is None:
        return
    reader = SizeReader()
    try:
        while data := await client.resize.read(CHUNK):
            for width, height in reader.feed(data)[-1:]:
                await streams.resize(width, height)
    except ValueError as exc:
        log.info("client sends no terminal sizes", reason=exc)
        while await client.resize.read(CHUNK):
            pass  # so that its other streams go on
