"""Undo: what a failed operation must take back, with a deadline of its own.

    async with undoing() as undo:
        thing = await make_thing()
        undo.push(remove_thing, thing)
        ...
        undo.pop_all()      # committed

Cleanup is shielded from the caller's cancellation. A step that fails is logged and does not keep the others from
running; the error of the operation itself is what the caller sees.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from core.log import get_logger

log = get_logger(__name__)

DEADLINE = 60.0
"""Seconds for all undo steps of one operation: containerd grants its deferred cleanups as much."""


class Undo:
    """A stack of steps back."""

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., Awaitable[Any]], tuple[Any, ...]]] = []

    def push(self, step: Callable[..., Awaitable[Any]], *args: Any) -> None:
        self._steps.append((step, args))

    def pop_all(self) -> None:
        """Forget all steps: the operation is committed."""
        self._steps.clear()

    async def unwind(self) -> None:
        """Run all steps, last first."""
        while self._steps:
            step, args = self._steps.pop()
            try:
                await step(*args)
            except Exception as exc:  # noqa: BLE001 - the other steps must still run
                log.error("undo step failed", step=step.__qualname__, args=args, error=exc)


@contextlib.asynccontextmanager
async def undoing() -> AsyncIterator[Undo]:
    undo = Undo()
    try:
        yield undo
    except BaseException:
        await asyncio.shield(asyncio.wait_for(undo.unwind(), DEADLINE))
        raise
