"""What is told of parts that fail, hang and come back."""

import asyncio
import contextlib
import time

from core.errdefs import Unavailable
from core.health import STALL, Health


@contextlib.asynccontextmanager
async def watching(health):
    task = asyncio.ensure_future(health.run())
    yield
    task.cancel()
    await asyncio.wait([task])


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_part_has_a_problem_until_it_is_well_again():
    broken = True

    async def store():
        if broken:
            raise Unavailable("disk full")
        return ""

    async def runtime():
        return "crun is missing"

    health = Health({"store": store, "runtime": runtime}, period=0.001)
    assert health.problems() == {}
    async with watching(health):
        await until(lambda: health.problems() == {"store": "disk full", "runtime": "crun is missing"})
        broken = False
        await until(lambda: health.problems() == {"runtime": "crun is missing"})


async def test_a_part_that_hangs_is_told_and_is_not_asked_twice():
    asked, answer = 0, asyncio.Event()

    async def disk():
        nonlocal asked
        asked += 1
        await answer.wait()
        return ""

    health = Health({"disk": disk}, period=0.001, patience=0.01)
    async with watching(health):
        await until(lambda: "does not answer" in health.problems().get("disk", ""))
        await asyncio.sleep(0.02)  # twenty periods: long enough to be asked again
        assert asked == 1
        answer.set()
        await until(lambda: not health.problems())


async def test_an_error_that_nobody_planned_for_ends_neither_the_watch_nor_the_others():
    async def odd():
        raise ZeroDivisionError

    async with watching(health := Health({"odd": odd}, period=0.001)):
        await until(lambda: health.problems() == {"odd": "ZeroDivisionError"})


async def test_an_event_loop_that_stood_still_is_for_the_log_and_takes_no_node_out_of_service(caplog):
    async with watching(health := Health({}, period=0.01)):
        await asyncio.sleep(0.001)
        time.sleep(STALL + 0.1)
        await until(lambda: "event loop stood still" in caplog.messages)
        assert not health.problems()


async def test_one_that_stood_still_for_long_is_not_well_until_the_next_look(caplog):
    async with watching(health := Health({}, period=0.01, long_stall=0.2)):
        await asyncio.sleep(0.001)
        time.sleep(0.4)
        await until(lambda: any("not ready" in message for message in caplog.messages))
        await until(lambda: not health.problems())
