from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from core.shim.stdio import PIPE_SIZE, REST, FifoPump, Pump, open_stdin, pipe


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


async def test_a_reader_that_stalls_stalls_the_process_and_loses_nothing(fifo: str) -> None:
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    output, process = os.pipe()
    pump = FifoPump(output, fifo)
    os.set_blocking(process, False)
    sent = bytearray()
    for number in range(1 << 30):  # until neither the FIFO nor the pipe has room
        await asyncio.sleep(0)
        try:
            piece = number.to_bytes(4, "big") * 1024
            sent += piece[: os.write(process, piece)]
        except BlockingIOError:
            if number > 1000:
                break
    os.close(process)
    got = bytearray()
    draining = asyncio.ensure_future(pump.drain())
    while not draining.done():
        await asyncio.sleep(0)
        try:
            got += os.read(reader, 1 << 20)
        except BlockingIOError:
            continue
    got += os.read(reader, 1 << 20)
    os.close(reader)
    assert got == sent


async def test_without_a_reader_the_pump_ends_all_the_same(fifo: str) -> None:
    output, process = os.pipe()
    pump = FifoPump(output, fifo)
    os.set_blocking(process, False)
    for _ in range(100):
        await asyncio.sleep(0)
        try:
            os.write(process, bytes(4096))
        except BlockingIOError:
            break
    os.close(process)
    await pump.drain(timeout=0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(output)


def test_a_process_sees_the_end_of_stdin_when_nobody_can_write_any_more(fifo: str) -> None:
    reading, writing = open_stdin(fifo)
    client = os.open(fifo, os.O_WRONLY)
    os.write(client, b"typed")
    os.close(client)
    assert os.read(reading, 100) == b"typed"
    os.set_blocking(reading, False)
    with pytest.raises(BlockingIOError):
        os.read(reading, 100)
    os.close(writing)
    assert os.read(reading, 100) == b""
    os.close(reading)


async def test_a_flood_is_read_many_pages_at_once() -> None:
    pages = PIPE_SIZE // 4096
    output, process = pipe()
    pieces: list[bytes] = []
    pump = Pump(output, pieces.append)
    for number in range(pages):
        os.write(process, bytes([number]) * 4096)
        await asyncio.sleep(0)
    os.close(process)
    await pump.drain()
    assert b"".join(pieces) == b"".join(bytes([number]) * 4096 for number in range(pages))
    assert len(pieces) < pages // 2


async def test_a_flood_waits_for_a_sink_that_is_full() -> None:
    output, process = pipe()
    taken: list[bytes] = []

    def sink(data: bytes) -> None:
        taken.append(data)
        pump.pause()

    pump = Pump(output, sink)
    os.write(process, bytes(PIPE_SIZE))
    await asyncio.sleep(10 * REST)
    assert len(taken) == 1
    pump.resume()
    await asyncio.sleep(10 * REST)
    assert len(taken) == 2
    os.close(process)
    pump.close()
    assert sum(map(len, taken)) == PIPE_SIZE
