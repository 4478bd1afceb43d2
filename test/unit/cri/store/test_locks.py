from __future__ import annotations

import asyncio

from cri.store.locks import Locks


async def test_two_holders_of_one_id_take_turns_and_another_id_does_not_wait() -> None:
    locks, order = Locks(), []
    inside = asyncio.Event()
    go = asyncio.Event()

    async def first() -> None:
        async with locks.hold("a"):
            inside.set()
            await go.wait()
            order.append("first")

    async def second() -> None:
        async with locks.hold("a"):
            order.append("second")

    async with asyncio.TaskGroup() as group:
        group.create_task(first())
        await inside.wait()
        group.create_task(second())
        async with locks.hold("b"):
            order.append("other")
        go.set()
    assert order == ["other", "first", "second"]


async def test_a_lock_that_nobody_wants_is_dropped() -> None:
    locks = Locks()
    async with locks.hold("a"):
        pass
    assert not locks._locks
