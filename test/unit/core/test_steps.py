"""Steps of calls, seen from coroutines, tasks and threads."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from core.steps import MAX_STEPS, Call, Step, calling, carried, current, step


def outline(call: Call) -> list[tuple[str, str]]:
    return [(one.name, one.parent.name if one.parent else "") for one in call.steps]


async def test_steps_belong_to_the_step_around_them_across_tasks_and_threads() -> None:
    def blocking() -> None:
        with step("thread"):
            pass

    async def parallel(name: str) -> None:
        with step(name):
            await asyncio.sleep(0)

    with calling("Run") as call, step("outer"):
        await asyncio.gather(parallel("left"), parallel("right"))
        with ThreadPoolExecutor(1) as executor:
            await asyncio.get_running_loop().run_in_executor(executor, carried(blocking))
    assert outline(call) == [("outer", ""), ("left", "outer"), ("right", "outer"), ("thread", "outer")]
    _, left, right, _ = call.steps
    assert left.ended is not None
    assert right.started < left.ended
    assert current() is None


def test_outside_of_a_call_nothing_is_noted() -> None:
    with step("alone"):
        assert current() is None


def test_a_step_that_fails_has_ended() -> None:
    with calling("Run") as call:
        try:
            with step("bad"):
                raise ValueError
        except ValueError:
            assert call.steps[0].ended
        with step("next"):
            pass
    assert outline(call) == [("bad", ""), ("next", "")]


def test_the_number_of_steps_is_bounded() -> None:
    with calling("Run") as call:
        for _ in range(MAX_STEPS + 5):
            with step("again"):
                pass
    assert len(call.steps) == MAX_STEPS


def test_the_slowest_step_is_the_one_whose_own_time_is_longest() -> None:
    outer = Step(name="outer", parent=None, started=0, ended=10)
    inner = Step(name="inner", parent=outer, started=1, ended=8)
    call = Call(name="Run", started=0, ended=10, steps=[outer, inner])
    assert call.slowest() == "'inner' took 7.0 s"
    assert call.where() == ""
    assert Call(name="Run").slowest() == ""


def test_a_call_that_goes_on_tells_its_innermost_steps_and_a_joined_one_tells_those() -> None:
    now = time.monotonic()
    outer = Step(name="network", parent=None, started=now - 9)
    inner = Step(name="cni bridge ADD", parent=outer, started=now - 5)
    call = Call(name="Run", steps=[outer, inner], started=now - 9)
    assert call.where() == "'cni bridge ADD' for 5.0 s"
    assert call.slowest() == "'cni bridge ADD' for 5.0 s"
    assert Call(name="Run", joined=call).where() == "'cni bridge ADD' for 5.0 s"
