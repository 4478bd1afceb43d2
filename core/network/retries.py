"""Work that failed and is tried again in the background until it succeeds."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence

DELAYS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
"""Seconds before each attempt; the last one repeats."""


class Retries:
    """One retry per key at a time."""

    def __init__(self, group: asyncio.TaskGroup, delays: Sequence[float] = DELAYS) -> None:
        self._group = group
        self._delays = delays
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def pending(self, key: str) -> bool:
        return key in self._tasks

    def later(self, key: str, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Await `attempt()`, which must not raise, after each delay until it returns True."""
        if not self._closed and key not in self._tasks:
            self._tasks[key] = self._group.create_task(self._retry(key, attempt))

    def settle(self, key: str) -> None:
        """End the retry, since somebody has done the work. May be called by the attempt itself."""
        task = self._tasks.pop(key, None)
        if task and task is not asyncio.current_task():
            task.cancel()

    def close(self) -> None:
        """Give up all of them, and take no more."""
        self._closed = True
        for task in self._tasks.values():
            task.cancel()

    async def _retry(self, key: str, attempt: Callable[[], Awaitable[bool]]) -> None:
        for delay in itertools.chain(self._delays, itertools.repeat(self._delays[-1])):
            await asyncio.sleep(delay)
            if await attempt():
                break
        self._tasks.pop(key, None)
