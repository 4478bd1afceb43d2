import asyncio
import os
from collections.abc import Iterator

import pytest

from core.errdefs import CrispError, FailedPrecondition, ResourceExhausted
from core.tasks.pipes import LAST, PipeSink, PipeSource


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """Read end, write end; -1 once a test has closed it."""
    ends = list(os.pipe())
    for fd in ends:
        os.set_blocking(fd, False)
    yield ends
    for fd in ends:
        if fd >= 0:
            os.close(fd)


def close(pipe: list[int], end: int) -> None:
    os.close(pipe[end])
    pipe[end] = -1


def source_of(pipe: list[int], error: CrispError | None = None) -> PipeSource:
    return PipeSource(pipe[0], lambda: error)


def sink_of(pipe: list[int]) -> PipeSink:
    return PipeSink(pipe[1], lambda: None)


async def begun(task: "asyncio.Task[object]") -> None:
    """Let it run as far as it comes."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()


async def test_a_source_gives_what_comes_and_ends_with_the_writer(pipe: list[int]) -> None:
    source = source_of(pipe)
    reading = asyncio.create_task(source.read(100))
    await begun(reading)
    os.write(pipe[1], b"abcdef")
    assert await reading == b"abcdef"
    os.write(pipe[1], b"abcdef")
    assert [await source.read(4), await source.read(4)] == [b"abcd", b"ef"]
    close(pipe, 1)
    assert [await source.read(4), await source.read(4)] == [b"", b""]


async def test_a_source_that_expired_gives_what_was_there_and_no_more(pipe: list[int]) -> None:
    source = source_of(pipe)
    os.write(pipe[1], b"abc")
    source.expire()
    assert [await source.read(2), await source.read(100), await source.read(100)] == [b"ab", b"c", b""]
    os.write(pipe[1], b"later")
    assert await source.read(100) == b""


async def test_an_endless_writer_does_not_keep_a_source_that_expired(pipe: list[int]) -> None:
    source = source_of(pipe)
    source.expire()
    size = 0
    os.write(pipe[1], bytes(4096))
    while piece := await source.read(1 << 16):
        size += len(piece)
        os.write(pipe[1], bytes(len(piece)))
    assert size == LAST


async def test_a_waiting_reader_learns_that_its_source_expired(pipe: list[int]) -> None:
    source = source_of(pipe)
    reading = asyncio.create_task(source.read(100))
    await begun(reading)
    source.expire()
    assert await reading == b""


async def test_a_source_ends_with_the_reason_why(pipe: list[int]) -> None:
    source = source_of(pipe, ResourceExhausted("too slow"))
    os.write(pipe[1], b"abc")
    close(pipe, 1)
    assert await source.read(100) == b"abc"
    for _ in range(2):
        with pytest.raises(ResourceExhausted):
            await source.read(100)


async def test_ending_a_source_wakes_its_reader_and_frees_the_descriptor(pipe: list[int]) -> None:
    source = source_of(pipe)
    reading = asyncio.create_task(source.read(100))
    await begun(reading)
    source.end()
    assert not asyncio.get_running_loop().remove_reader(pipe[0])
    assert await reading == b""


async def test_a_reader_that_gives_up_leaves_the_source_as_it_was(pipe: list[int]) -> None:
    source = source_of(pipe)
    reading = asyncio.create_task(source.read(100))
    await begun(reading)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    os.write(pipe[1], b"abc")
    assert await source.read(100) == b"abc"


async def test_a_sink_waits_until_all_is_taken(pipe: list[int]) -> None:
    data = os.urandom(1 << 20)
    sink, source = sink_of(pipe), source_of(pipe)
    writing = asyncio.create_task(sink.write(data))
    await begun(writing)
    taken = b""
    while len(taken) < len(data):
        taken += await source.read(1 << 16)
    await writing
    assert taken == data


async def test_a_sink_that_nobody_reads_any_more_refuses(pipe: list[int]) -> None:
    sink = sink_of(pipe)
    writing = asyncio.create_task(sink.write(bytes(1 << 20)))
    await begun(writing)
    close(pipe, 0)
    with pytest.raises(FailedPrecondition, match="has closed it"):
        await writing
    with pytest.raises(FailedPrecondition):
        await sink.write(b"x")


async def test_closing_a_sink_ends_its_writer_and_is_told_once(pipe: list[int]) -> None:
    told: list[bool] = []
    sink = PipeSink(pipe[1], lambda: told.append(asyncio.get_running_loop().remove_writer(pipe[1])))
    writing = asyncio.create_task(sink.write(bytes(1 << 20)))
    await begun(writing)
    await sink.close()
    await sink.close()
    assert told == [False], "still registered when it was closed"
    with pytest.raises(FailedPrecondition, match="stdin is closed"):
        await writing
