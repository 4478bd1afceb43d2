"""Calls that block, off the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

from core.errdefs import Unavailable
from core.steps import carried

T = TypeVar("T")
P = TypeVarTuple("P")


class Blocking:
    """Makes calls in `executor`; `what` names them in errors."""

    def __init__(self, executor: Executor, what: str) -> None:
        self._executor = executor
        self._what = what

    async def __call__(self, call: Callable[[*P], T], *arguments: *P) -> T:
        """Return what `call` returns, and never before it has ended: a cancelled caller must not undo half a step.

        Raises what `call` raises, Unavailable for OSError.
        """
        future = asyncio.get_running_loop().run_in_executor(self._executor, carried(call), *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise
        except OSError as exc:
            raise Unavailable(f"{self._what}: {exc}") from exc
