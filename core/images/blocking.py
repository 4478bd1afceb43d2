"""Blocking stores, called from the loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from core.steps import carried

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


class Blocking:
    """Calls functions in `executor`. A call that was begun ends before its caller goes on, even one that is cancelled:

    so nobody closes a file that a thread is writing to.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def __call__(
        self, function: Callable[_Args, _Result], *args: _Args.args, **kwargs: _Args.kwargs
    ) -> _Result:
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(self._executor, carried(lambda: function(*args, **kwargs)))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            while not call.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([call])
            if not call.cancelled():
                call.exception()  # nobody will hear of it: the caller is gone
            raise
