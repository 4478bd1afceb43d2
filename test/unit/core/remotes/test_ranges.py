"""Every case with bytes that tell where they come from: what is handed on must be the blob."""

import asyncio
import dataclasses

import pytest

from core.errdefs import Unavailable
from core.remotes.ranges import MAX_FAILED, Ranges, Splitting

SIZE = 1000
BLOB = bytes(index * 7 % 251 for index in range(SIZE))
SLOW = Splitting(segment=100, large=200, fast=1 << 60)
"""Every stream is slow to it."""


class Host:
    """Serves BLOB; knows no ranges if told so, and fails helpers if told so."""

    def __init__(self, *, ranges=True, helper_brings=100):
        self.streamed, self.helped = [], []
        self.running = 0
        self.peak = 0
        self._ranges = ranges
        self._helper_brings = helper_brings

    async def stream(self, start, end):
        self.streamed.append((start, end))
        for offset in range(start, end if self._ranges else SIZE, 50):
            await asyncio.sleep(0)
            yield BLOB[offset : min(offset + 50, end if self._ranges else SIZE)]

    async def help(self, start, end):
        self.helped.append((start, end))
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await asyncio.sleep(0)
            yield BLOB[start : min(end, start + self._helper_brings)]
            if self._helper_brings < end - start:
                raise Unavailable("too many connections")
        finally:
            self.running -= 1


async def read(host, splitting=SLOW, *, offset=0, pool=None):
    pool = pool or asyncio.Semaphore(8)
    ranges = Ranges(host.stream, host.help, splitting, pool)
    return b"".join([data async for data in ranges.read(offset, SIZE)])


@pytest.mark.parametrize("offset", [0, 1, 350, 799, 801, 999, 1000])
async def test_bytes_come_in_order_from_wherever_an_earlier_transfer_stopped(offset):
    assert await read(Host(), offset=offset) == BLOB[offset:]


async def test_a_slow_stream_gets_helpers_for_what_comes_next():
    host = Host()
    assert await read(host) == BLOB
    assert host.streamed[0] == (0, 100)
    assert host.helped[:3] == [(200, 300), (300, 400), (400, 500)]
    assert host.peak == SLOW.at_once - 1


async def test_a_fast_stream_gets_none_and_is_looked_at_less_and_less():
    host = Host()
    assert await read(host, dataclasses.replace(SLOW, fast=0)) == BLOB
    assert (host.streamed, host.helped) == ([(0, 100), (100, 300), (300, 700), (700, 1000)], [])


@pytest.mark.parametrize("splitting", [dataclasses.replace(SLOW, at_once=1), dataclasses.replace(SLOW, large=1001)])
async def test_a_blob_that_is_not_to_be_split_is_one_stream(splitting):
    host = Host()
    assert await read(host, splitting) == BLOB
    assert (host.streamed, host.helped) == ([(0, 1000)], [])


async def test_a_host_without_ranges_sends_it_all_at_once():
    host = Host(ranges=False)
    assert await read(host) == BLOB
    assert (host.streamed, host.helped) == ([(0, 100)], [])


@pytest.mark.parametrize("brings", [0, 30])
async def test_what_helpers_do_not_bring_the_stream_reads_and_soon_alone(brings):
    host = Host(helper_brings=brings)
    assert await read(host) == BLOB
    assert len(host.helped) <= MAX_FAILED + SLOW.at_once


async def test_helpers_are_shared_by_all_blobs_and_given_back():
    pool, hosts = asyncio.Semaphore(4), [Host() for _ in range(5)]
    assert await asyncio.gather(*(read(host, pool=pool) for host in hosts)) == [BLOB] * 5
    assert all(host.streamed for host in hosts)
    assert pool._value == 4


async def test_who_stops_reading_leaves_no_helper_behind():
    host, pool = Host(), asyncio.Semaphore(8)
    body = Ranges(host.stream, host.help, SLOW, pool).read(0, SIZE)
    async for _ in body:
        if host.helped:
            break
    await body.aclose()
    assert (host.running, pool._value) == (0, 8)
    assert len(asyncio.all_tasks()) == 1
