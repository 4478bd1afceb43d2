"""When a worker may end: nothing has happened for a while, and nothing is under way."""

from __future__ import annotations

import asyncio
import time

from core.shim.loop import ForkedLoop
from core.shim.luggage import Packed

FIRST = 2.0
"""Seconds without a sign of life until a worker ends: a pod that is being started has shorter pauses."""
MOST = 32
"""Times FIRST that it waits at most."""
LONG = 30
"""Times FIRST that a sleep is worth its while. After a shorter one the next worker waits twice as long, so that what
happens each ten seconds, a probe, say, soon finds one that has stayed awake."""


class Rest:
    """How long a pod has been quiet, in the running loop of a forked process."""

    def __init__(self, first: float, before: Packed | None) -> None:
        """`first` stands for FIRST; `before` is what an earlier worker has put down."""
        self.pause = first
        """Seconds that nothing may happen until the worker ends."""
        if before and time.monotonic() - before["since"] < LONG * first:
            self.pause = min(2 * before["pause"], MOST * first)
        self._seen = -1

    def put_down(self) -> Packed:
        return {"since": time.monotonic(), "pause": self.pause}

    def is_quiet(self) -> bool:
        """Whether nothing has happened since this was asked last: the loop was not woken but by its clock."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ForkedLoop)
        before, self._seen = self._seen, loop.awakenings
        return before == self._seen
