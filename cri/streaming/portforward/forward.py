"""One forwarded connection: between a stream of the client and a TCP port of the pod."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from core.errdefs import Cancelled, CrispError
from core.log import get_logger
from core.tasks.streams import ByteSink, ByteSource
from cri.streaming.wire import READ, hang_up

log = get_logger(__name__)

_RESET = struct.pack("ii", 1, 0)
"""struct linger, socket(7): close(2) drops what is not sent and resets."""

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
        with reset_on_failure(writer):
            async with asyncio.TaskGroup() as group:
                group.create_task(_to_pod(data, writer))
                group.create_task(_from_pod(reader, back))
            await hang_up(writer)
    except* (OSError, Cancelled) as errors:
        log.debug(
            "forwarded connection broke", sandbox_id=target.sandbox_id, port=target.port, error=errors.exceptions[0]
        )


@contextlib.contextmanager
def reset_on_failure(writer: asyncio.StreamWriter) -> Iterator[None]:
    """Reset the connection when the block fails: closed, it would stay open for as long as the pod does not read."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # closed already
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
        raise


async def _to_pod(data: ByteSource, writer: asyncio.StreamWriter) -> None:
    while chunk := await data.read(READ):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def _from_pod(reader: asyncio.StreamReader, back: ByteSink) -> None:
    while chunk := await reader.read(READ):
        await back.write(chunk)
    await back.close()
