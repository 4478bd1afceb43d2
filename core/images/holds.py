"""What running pulls need before an image refers to it: names of blobs and snapshots that must not be collected."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator


class Hold:
    """The names that one pull holds."""

    def __init__(self, counts: Counter[str], removals: dict[str, asyncio.Event]) -> None:
        self._counts = counts
        self._removals = removals
        self.names: list[str] = []

    async def add(self, *names: str) -> None:
        """From now on these stay, if they are there: look for them after this, not before."""
        self._counts.update(names)
        self.names += names
        for name in names:
            if removal := self._removals.get(name):  # it was decided before we came
                await removal.wait()


class Holds:
    """Use it inside one running loop."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._removals: dict[str, asyncio.Event] = {}
        """By name, set once it is gone."""

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[Hold]:
        """Let go of everything at the end of the block."""
        hold = self.take()
        try:
            yield hold
        finally:
            self.release(hold)

    def take(self) -> Hold:
        """A hold that lasts until `release`."""
        return Hold(self._counts, self._removals)

    def release(self, hold: Hold) -> None:
        """Let go of everything that `hold` has."""
        self._counts.subtract(hold.names)
        self._counts += Counter()  # forgets what is at zero; in place, since others share it
        hold.names.clear()

    def names(self) -> set[str]:
        return set(self._counts)

    def __contains__(self, name: str) -> bool:
        return name in self._counts

    @contextlib.contextmanager
    def removing(self, name: str) -> Iterator[None]:
        """Remove `name`, which nobody holds, inside the block: who wants to hold it waits for its end.

        One at a time. Pulls that do not want it do not wait.
        """
        removal = self._removals[name] = asyncio.Event()
        try:
            yield
        finally:
            del self._removals[name]
            removal.set()
