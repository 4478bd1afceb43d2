"""crisp.shim.v1.Shim: an exec in one call, and the log."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

from google.protobuf.empty_pb2 import Empty

from core.api import crisp_shim_pb2
from core.shim.container import Container
from core.shim.containers import Containers
from core.shim.reaper import Process
from core.shim.run import start_exec, wait_exec
from core.shim.stdio import Pump, Sink, no_input, pipe

Wrap = Callable[[bytes], crisp_shim_pb2.ExecOutput]


class ShimService:
    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    async def reopen_log(self, request: crisp_shim_pb2.ReopenLogRequest) -> Empty:
        self._containers.get(request.container_id).reopen_log()
        return Empty()

    async def exec_sync(
        self, request: crisp_shim_pb2.ExecSyncRequest
    ) -> AsyncIterator[crisp_shim_pb2.ExecOutput]:
        """Output as it comes, then the exit. A caller that goes away ends the exec."""
        container = self._containers.get(request.container_id)
        container.require_running()
        output = Output(request.limit)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        run = asyncio.ensure_future(_run(container, self._containers.exec_turn, request, output, gone))
        try:
            while (part := await output.next()) is not None:
                yield part
            yield crisp_shim_pb2.ExecOutput(exit=await asyncio.shield(run))
        finally:
            gone.set_result(None)
            run.add_done_callback(lambda done: done.cancelled() or done.exception())  # it fails for nobody now


async def _run(
    container: Container,
    turn: asyncio.Semaphore,
    request: crisp_shim_pb2.ExecSyncRequest,
    output: Output,
    gone: asyncio.Future[None],
) -> crisp_shim_pb2.ExecExit:
    """Never cancelled, since what the OCI runtime has just started would be nobody's: `gone` ends it."""
    pumps: list[Pump] = []
    try:
        async with turn:
            process = await _start(container, request.process, output, pumps)
        ended = await wait_exec(container, process, gone, request.timeout_ns / 1e9 or None)
        await asyncio.gather(*(pump.drain() if ended else pump.drain(0) for pump in pumps))
        return crisp_shim_pb2.ExecExit(code=process.exit.result(), timed_out=not ended)
    finally:
        for pump in pumps:
            pump.close()
        output.close()


async def _start(container: Container, process: bytes, output: Output, pumps: list[Pump]) -> Process:
    ends = [no_input()]
    try:
        for sink in (output.stdout, output.stderr):
            read, write = pipe()
            ends.append(write)
            pumps.append(Pump(read, sink()))
        return await start_exec(container, process, ends)
    finally:
        for fd in ends:
            os.close(fd)


class Output:
    """What an exec wrote, on its way to the caller: `limit` bytes of each stream, the rest is read and dropped, so that
    the command never waits for us (hazards CVE-2022-31030)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: asyncio.Queue[crisp_shim_pb2.ExecOutput | None] = asyncio.Queue()

    def stdout(self) -> Sink:
        return self._sink(lambda data: crisp_shim_pb2.ExecOutput(stdout=data))

    def stderr(self) -> Sink:
        return self._sink(lambda data: crisp_shim_pb2.ExecOutput(stderr=data))

    def _sink(self, wrap: Wrap) -> Sink:
        left = self._limit

        def sink(data: bytes) -> None:
            nonlocal left
            if data and left > 0:
                self._queue.put_nowait(wrap(data[:left]))
                left -= len(data)

        return sink

    async def next(self) -> crisp_shim_pb2.ExecOutput | None:
        """The next part, None at the end."""
        return await self._queue.get()

    def close(self) -> None:
        self._queue.put_nowait(None)
