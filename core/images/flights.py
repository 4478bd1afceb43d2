"""Work that several callers want at the same time, done once.

A *flight* is work under a key. Whoever joins it waits for the same result; it goes on while somebody is on board, and
is cancelled when the last one leaves. Who comes while it is being cancelled waits for its end and starts a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Subject = TypeVar("Subject")
Result = TypeVar("Result")


class Flight(Generic[Subject, Result]):
    def __init__(self, subject: Subject, work: Coroutine[Any, Any, Result]) -> None:
        self.subject = subject
        """What the work is about: those on board may look at it while it goes on."""
        self.task = asyncio.create_task(work)
        self.on_board = 0
        self.is_cancelled = False

    async def wait(self) -> Result:
        """The result; raises what the work raised. Being cancelled here does not cancel the work."""
        return await asyncio.shield(self.task)


class Flights(Generic[Key, Subject, Result]):
    """All flights of one kind, by key."""

    def __init__(self) -> None:
        self._flights: dict[Key, Flight[Subject, Result]] = {}

    def items(self) -> Iterator[tuple[Key, Subject]]:
        """What is under way. Any thread may ask."""
        return ((key, flight.subject) for key, flight in list(self._flights.items()))

    @contextlib.asynccontextmanager
    async def join(
        self, key: Key, subject: Callable[[], Subject], work: Callable[[Subject], Coroutine[Any, Any, Result]]
    ) -> AsyncIterator[Flight[Subject, Result]]:
        """Be on board of the flight under `key`, started with `work(subject())` when there is none."""
        while (flight := self._flights.get(key)) and flight.is_cancelled:
            await asyncio.wait([flight.task])
        if flight is None:
            flight = self._start(key, subject(), work)
        flight.on_board += 1
        try:
            yield flight
        finally:
            flight.on_board -= 1
            if not flight.on_board and not flight.task.done():
                flight.is_cancelled = True
                flight.task.cancel()
                await asyncio.wait([flight.task])

    def _start(
        self, key: Key, subject: Subject, work: Callable[[Subject], Coroutine[Any, Any, Result]]
    ) -> Flight[Subject, Result]:
        flight = self._flights[key] = Flight(subject, work(subject))

        def landed(task: asyncio.Task[Result]) -> None:
            del self._flights[key]
            if not task.cancelled():
                task.exception()  # those on board hear of it; without any, nobody needs to

        flight.task.add_done_callback(landed)
        return flight
