"""One forwarded connection: between a stream of the client and a TCP port of the pod."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from core.errdefs import Cancelled, CrispError
from core.log import get_logger
from core.tasks.streams import ByteSink, ByteSource
from cri.streaming.wire import READ, hang_up

log = get_logger(__name__)

Dial = Callable[[str, int], Awaitable[socket.socket]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    sandbox_id: str
    port: int


async def forward(dial: Dial, target: Target, data: ByteSource, back: ByteSink, error: ByteSink) -> None:
    """Connect to `target` and carry `data` there and its answer to `back`, until both ends have ended.

    What keeps the connection from being made is told on `error`. A connection that breaks later just ends: clients
    give up the whole session, with all its other connections, on any word there (kubernetes#74551).
    """
    try:
        connection = await dial(target.sandbox_id, target.port)
    except CrispError as exc:
        log.info("port-forward failed", sandbox_id=target.sandbox_id, port=target.port, error=exc)
        await error.write(f"error forwarding port {target.port} to pod {target.sandbox_id}: {exc}".encode())
        return
    try:
        reader, writer = await asyncio.open_connection(sock=connection, limit=READ)
        with closing(writer.transport):
            async with asyncio.TaskGroup() as group:
                group.create_task(_to_pod(data, writer))
                group.create_task(_from_pod(reader, back))
            await hang_up(writer)
    except* (OSError, Cancelled) as errors:
        log.debug(
            "forwarded connection broke", sandbox_id=target.sandbox_id, port=target.port, error=errors.exceptions[0]
        )


@contextlib.contextmanager
def closing(transport: asyncio.WriteTransport) -> Iterator[None]:
    """Abort `transport` at the end, which does nothing to one that was closed in peace."""
    try:
        yield
    finally:
        transport.abort()


async def _to_pod(data: ByteSource, writer: asyncio.StreamWriter) -> None:
    while chunk := await data.read(READ):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def _from_pod(reader: asyncio.StreamReader, back: ByteSink) -> None:
    while chunk := await reader.read(READ):
        await back.write(chunk)
    await back.close()
