"""Pulls hold what collections must leave, and wait only for what they want."""

import asyncio

from core.images.holds import Holds


async def test_what_is_held_is_known_until_the_last_one_lets_go():
    holds = Holds()
    async with holds.hold() as first:
        await first.add("a")
        async with holds.hold() as second:
            await second.add("a", "b")
        assert "a" in holds
        assert "b" not in holds
    assert "a" not in holds


async def test_who_wants_what_is_being_removed_waits_for_its_end():
    holds = Holds()
    async with holds.hold() as hold:
        with holds.removing("a"):
            waiting = asyncio.ensure_future(hold.add("a"))
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
        assert "a" in holds


async def test_who_wants_something_else_does_not_wait():
    holds = Holds()
    async with holds.hold() as hold:
        with holds.removing("a"):
            await hold.add("b")
        assert "b" in holds


async def test_who_gives_up_waiting_holds_nothing():
    holds = Holds()
    with holds.removing("a"):
        async with holds.hold() as hold:
            waiting = asyncio.ensure_future(hold.add("a"))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
    assert "a" not in holds
