"""What running pulls need before an image refers to it: names of blobs and snapshots that must not be collected."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class Hold:
    """The names that one pull holds."""

    def __init__(self, counts: Counter[str], collecting: asyncio.Lock) -> None:
        self._counts = counts
        self._collecting = collecting
        self.names: list[str] = []

    async def add(self, *names: str) -> None:
        """From now on these stay, if they are there: look for them after this, not before."""
        async with self._collecting:  # a collection that runs has decided already
            self._counts.update(names)
            self.names += names


class Holds:
    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._collecting = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[Hold]:
        """Let go of everything at the end of the block."""
        hold = Hold(self._counts, self._collecting)
        try:
            yield hold
        finally:
            self._counts.subtract(hold.names)
            self._counts += Counter()  # forgets what is at zero; in place, since others share it

    @contextlib.asynccontextmanager
    async def collecting(self) -> AsyncIterator[frozenset[str]]:
        """All that is held; nothing is added inside the block."""
        async with self._collecting:
            yield frozenset(self._counts)
