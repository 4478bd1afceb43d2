from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from core.errdefs import AlreadyExists, Unavailable
from core.steps import calling, step
from cri.store.operations import Operation, Operations

Test = Callable[[Operations], Awaitable[None]]


def in_group(test: Test) -> Callable[[], Awaitable[None]]:
    """Run the test inside the task group that its operations belong to."""

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            await test(Operations(group))

    return run


async def yes(_operation: Operation) -> str:
    return "id-1"


@in_group
async def test_the_result_of_the_work_is_returned(operations: Operations) -> None:
    assert await operations.run("pod", b"request", yes) == "id-1"


@in_group
async def test_the_same_request_joins_the_running_operation(operations: Operations) -> None:
    go, runs = asyncio.Event(), []

    async def work(_operation: Operation) -> str:
        runs.append(1)
        await go.wait()
        return "id-1"

    first = asyncio.ensure_future(operations.run("pod", b"request", work))
    second = asyncio.ensure_future(operations.run("pod", b"request", work))
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(first, second) == ["id-1", "id-1"]
    assert len(runs) == 1


@in_group
async def test_a_retry_adopts_the_result_that_a_cancelled_caller_never_got(operations: Operations) -> None:
    go = asyncio.Event()

    async def work(_operation: Operation) -> str:
        await go.wait()
        return "id-1"

    caller = asyncio.ensure_future(operations.run("pod", b"request", work))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    await operations.wait_idle()

    async def unexpected(_operation: Operation) -> str:
        raise AssertionError("the work must not run twice")

    assert await operations.run("pod", b"request", unexpected) == "id-1"


@in_group
async def test_another_request_for_a_running_name_is_refused_with_its_step(operations: Operations) -> None:
    go, begun = asyncio.Event(), asyncio.Event()

    async def work(_operation: Operation) -> str:
        with step("network"):
            begun.set()
            await go.wait()
        return "id-1"

    with calling("RunPodSandbox"):
        first = asyncio.ensure_future(operations.run("pod", b"request", work))
    await begun.wait()
    with pytest.raises(AlreadyExists, match=r"'network' for 0\.\d s"):
        await operations.run("pod", b"other", yes)
    go.set()
    assert await first == "id-1"


@in_group
async def test_a_failure_frees_the_name_at_once(operations: Operations) -> None:
    async def fails(_operation: Operation) -> str:
        raise Unavailable("no network")

    with pytest.raises(Unavailable):
        await operations.run("pod", b"request", fails)
    assert await operations.run("pod", b"other", yes) == "id-1"


@in_group
async def test_a_failure_that_nobody_waited_for_does_not_meet_the_retry(operations: Operations) -> None:
    go = asyncio.Event()

    async def fails(_operation: Operation) -> str:
        await go.wait()
        raise Unavailable("no network")

    caller = asyncio.ensure_future(operations.run("pod", b"request", fails))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    await operations.wait_idle()
    assert await operations.run("pod", b"request", yes) == "id-1"


@in_group
async def test_a_removed_object_gives_its_undelivered_name_back(operations: Operations) -> None:
    caller = asyncio.ensure_future(operations.run("pod", b"request", yes))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await operations.wait_idle()
    operations.release("pod")
    assert await operations.run("pod", b"other", yes) == "id-1"
