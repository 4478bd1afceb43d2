"""What keeps pods from running now. Parts are asked again and again; one that does not answer is not well, either."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from core.log import get_logger

log = get_logger(__name__)

PERIOD = 10.0
"""Seconds between two questions to a part: the kubelet asks for the status as often."""
PATIENCE = 5.0
"""Seconds for a part to answer: a thousand times what they take."""
STALL = 2.0
"""Seconds by which the event loop may be late unremarked: calls with a deadline of 1 s have failed by then."""
LONG_STALL = 10.0
"""And of being late without being unwell. On a node short of CPU some seconds are common, and a kubelet that hears of
them takes all pods out of service; after so long a daemon does not do its work, whatever the cause."""

Check = Callable[[], Awaitable[str]]
"""What is wrong, "" when all is well; an error is what is wrong, too. It may try to mend it."""


class Health:
    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        period: float = PERIOD,
        patience: float = PATIENCE,
        long_stall: float = LONG_STALL,
    ) -> None:
        """`checks` by the name of the part."""
        self._checks = checks
        self._period = period
        self._patience = patience
        self._long_stall = long_stall
        self._problems: dict[str, str] = {}

    def problems(self) -> Mapping[str, str]:
        """Part to reason, from memory; empty when all is well, or nothing is known yet."""
        return dict(self._problems)

    async def run(self) -> None:
        """Watch all parts and the event loop, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_loop())
            for part, check in self._checks.items():
                group.create_task(self._watch(part, check))

    async def _watch(self, part: str, check: Check) -> None:
        while True:
            asking = asyncio.ensure_future(check())
            try:
                await asyncio.wait([asking], timeout=self._patience)
                if not asking.done():
                    self._note(part, f"does not answer within {self._patience:g} s")
                self._note(part, await asking)  # it is not asked again before: what hangs shall not pile up
            except Exception as exc:  # noqa: BLE001 - whatever it is, this part is not well
                self._note(part, str(exc) or type(exc).__name__)
            finally:
                asking.cancel()
            await asyncio.sleep(self._period)

    async def _watch_loop(self) -> None:
        """A stall is over when it is noticed; a long one is told until the next look."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._period
            await asyncio.sleep(self._period)
            late = loop.time() - due
            if late > STALL:
                log.warning("event loop stood still", seconds=round(late, 1))
            self._note("event loop", f"stood still for {late:.1f} s" if late > self._long_stall else "")

    def _note(self, part: str, problem: str) -> None:
        before = self._problems.get(part, "")
        if problem == before:
            return
        if problem:
            log.error("not ready", part=part, problem=problem)
            self._problems[part] = problem
        else:
            log.info("ready again", part=part)
            del self._problems[part]
