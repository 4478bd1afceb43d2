"""One lock per object, so that two calls never change one container or pod at once, and others never wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from core.steps import step


class Locks:
    """Locks by id, made when first wanted and dropped when nobody waits."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, id_: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(id_, (asyncio.Lock(), 0))
        self._locks[id_] = (lock, users + 1)
        try:
            with step("another call on it") if lock.locked() else contextlib.nullcontext():
                await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, users = self._locks[id_]
            if users == 1:
                del self._locks[id_]
            else:
                self._locks[id_] = (lock, users - 1)
