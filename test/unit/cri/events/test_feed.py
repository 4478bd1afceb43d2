"""A stream of messages to many readers, whatever one of them does."""

import asyncio

import pytest

from core.errdefs import ResourceExhausted, Unavailable
from cri.events.feed import Feed


async def begin(stream):
    """The first message is awaited from now on."""
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    return waiting


async def test_every_reader_gets_every_message_in_order():
    feed = Feed()
    streams = [feed.read(), feed.read()]
    waiting = [await begin(stream) for stream in streams]
    for number in range(3):
        feed.publish(b"%d" % number)
    for first, stream in zip(waiting, streams, strict=True):
        assert [await first, await anext(stream), await anext(stream)] == [b"0", b"1", b"2"]
        await stream.aclose()
    assert feed.idle


async def test_a_reader_that_falls_behind_is_told_and_the_others_miss_nothing():
    feed = Feed(max_pending=10)
    slow, quick = feed.read(), feed.read()
    for first in (await begin(slow), await begin(quick)):
        feed.publish(b"-")
        await first
    await anext(slow)
    for _ in range(4):
        feed.publish(b"four")
        assert await anext(quick) == (b"-" if _ == 0 else b"four")
    with pytest.raises(ResourceExhausted, match="list"):
        await anext(slow)
    assert await anext(quick) == b"four"
    await quick.aclose()
    assert feed.idle


async def test_a_reader_that_stays_within_its_limit_for_ever_is_never_ended():
    feed = Feed(max_pending=10)
    stream = feed.read()
    first = await begin(stream)
    for _ in range(100):
        feed.publish(b"12345678")
        assert await (first if _ == 0 else anext(stream)) == b"12345678"
    await stream.aclose()


async def test_closing_ends_those_who_read_and_those_who_come_later():
    feed = Feed()
    waiting = await begin(feed.read())
    feed.close()
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    with pytest.raises(Unavailable):
        await anext(feed.read())


async def test_a_cancelled_reader_is_forgotten():
    feed = Feed()
    stream = feed.read()
    waiting = await begin(stream)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert feed.idle
