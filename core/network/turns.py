"""Whose turn it is: one operation per pod at a time, and garbage collection alone (CNI spec 1.1, section 3)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from core.steps import step


class Turns:
    def __init__(self) -> None:
        self._pods: set[str] = set()
        self._alone = False
        self._waiters: list[asyncio.Future[None]] = []

    @contextlib.asynccontextmanager
    async def of_pod(self, pod_id: str) -> AsyncIterator[None]:
        """Nothing else happens to this pod's network inside the block; other pods go on."""
        if self._alone or pod_id in self._pods:
            with step("another turn of its network"):
                await self._wait(lambda: not self._alone and pod_id not in self._pods)
        self._pods.add(pod_id)
        try:
            yield
        finally:
            self._pods.remove(pod_id)
            self._wake()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nothing happens to any pod's network inside the block; new turns wait already while old ones end."""
        await self._wait(lambda: not self._alone)
        self._alone = True
        try:
            await self._wait(lambda: not self._pods)
            yield
        finally:
            self._alone = False
            self._wake()

    async def _wait(self, free: Callable[[], bool]) -> None:
        while not free():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
