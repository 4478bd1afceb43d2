"""How long a connection is served: until the work is done, the client is gone or nothing has moved for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Protocol

from core.log import get_logger
from cri.streaming.wire import LINGER, SHORT_LINGER, SocketWire

log = get_logger(__name__)


class Connection(Protocol):
    async def run(self) -> None:
        """Move bytes until the client is gone."""

    async def close(self, linger: float) -> None:
        """Say goodbye and hang up, at the latest `linger` seconds later."""


async def serve(connection: Connection, work: Coroutine[None, None, None], wire: SocketWire, idle: float) -> None:
    """Run `work` while `connection` lives, and no longer; then close it. `idle` in seconds."""
    linger = SHORT_LINGER  # when we are cancelled: the daemon ends
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in (work, connection.run(), wait_idle(wire, idle))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        linger = LINGER
    finally:
        await connection.close(linger)


async def wait_idle(wire: SocketWire, limit: float) -> None:
    """Return when `wire` has moved nothing for `limit` seconds."""
    clock = asyncio.get_running_loop().time
    while (left := wire.active + limit - clock()) > 0:  # noqa: ASYNC110 - an event per byte would cost more
        await asyncio.sleep(left)
    log.info("closing an idle client", seconds=limit)
