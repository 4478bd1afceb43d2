import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.images.blocking import Blocking
from core.images.flights import Flights


class Work:
    def __init__(self):
        self.started = self.ended = 0
        self.gate = asyncio.Event()
        self.cleaned = asyncio.Event()
        self.cleaned.set()

    async def __call__(self, _subject):
        self.started += 1
        try:
            await self.gate.wait()
            return self.started
        finally:
            await self.cleaned.wait()
            self.ended += 1

    async def join(self, flights):
        async with flights.join("key", object, self) as flight:
            return await flight.wait()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_on_board_share_one_result():
    flights, work = Flights(), Work()
    waiting = [asyncio.ensure_future(work.join(flights)) for _ in range(3)]
    await settle()
    work.gate.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert list(flights.items()) == []


async def test_one_may_leave_and_the_work_goes_on():
    flights, work = Flights(), Work()
    leaving, staying = (asyncio.ensure_future(work.join(flights)) for _ in range(2))
    await settle()
    leaving.cancel()
    await settle()
    assert leaving.cancelled()
    assert not work.ended
    work.gate.set()
    assert await staying == 1


async def test_the_last_one_to_leave_takes_the_work_along_and_waits_for_its_end():
    flights, work = Flights(), Work()
    work.cleaned.clear()
    leaving = asyncio.ensure_future(work.join(flights))
    await settle()
    leaving.cancel()
    await settle()
    assert not leaving.done()
    work.cleaned.set()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    assert work.ended == 1


async def test_who_comes_while_the_work_is_being_cancelled_starts_anew_after_its_end():
    flights, work = Flights(), Work()
    work.cleaned.clear()
    leaving = asyncio.ensure_future(work.join(flights))
    await settle()
    leaving.cancel()
    await settle()
    coming = asyncio.ensure_future(work.join(flights))
    await settle()
    assert work.started == 1
    work.cleaned.set()
    work.gate.set()
    assert await coming == 2


async def test_an_error_reaches_all_and_the_next_one_tries_again():
    flights = Flights()

    async def fail(_subject):
        await asyncio.sleep(0)
        raise ValueError

    async def join():
        async with flights.join("key", object, fail) as flight:
            await flight.wait()

    for _ in range(2):
        results = await asyncio.gather(join(), join(), return_exceptions=True)
        assert [type(result) for result in results] == [ValueError, ValueError]


async def test_the_subject_can_be_looked_at():
    flights, work = Flights(), Work()
    async with flights.join("key", lambda: "subject", work) as flight:
        assert list(flights.items()) == [("key", "subject")]
        assert flight.subject == "subject"
        work.gate.set()
        await flight.wait()


async def test_a_call_in_a_thread_ends_before_its_cancelled_caller_goes_on():
    gate, done = threading.Event(), []
    with ThreadPoolExecutor(1) as executor:
        calling = asyncio.ensure_future(Blocking(executor)(lambda: (gate.wait(5), done.append(1))))
        await settle()
        calling.cancel()
        await settle()
        calling.cancel()
        await settle()
        assert not calling.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert done == [1]
