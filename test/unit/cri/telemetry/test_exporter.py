"""Spans on their way to a collector, here one on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from core.steps import Call, Step
from cri.telemetry.exporter import HELD, Exporter

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-1] + "0"


class Collector:
    """Takes ExportTraceServiceRequests, and refuses the first `failures` of them."""

    def __init__(self) -> None:
        self.names: asyncio.Queue[str] = asyncio.Queue()
        self.failures = 0
        self.failed = asyncio.Event()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        if self.failures:
            self.failures -= 1
            self.failed.set()
            return web.Response(status=503)
        body = await request.json()
        for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            self.names.put_nowait(span["name"])
        return web.json_response({})


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    application = web.Application()
    application.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    yield collector
    await runner.cleanup()


@contextlib.asynccontextmanager
async def running(exporter: Exporter) -> AsyncIterator[None]:
    task = asyncio.create_task(exporter.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def call(name: str, parent: str = "", **values: Any) -> Call:
    steps = [Step(name="work", parent=None, started=0, ended=1)]
    return Call(name=name, parent=parent, ended=1, **{"steps": steps, **values})


async def test_calls_that_a_clients_trace_wants_are_exported_and_no_others(collector: Collector) -> None:
    exporter = Exporter(collector.url, 0.0, period=0.01)
    async with running(exporter), asyncio.timeout(10):
        for name, parent in (("None", ""), ("Unsampled", UNSAMPLED), ("Sampled", SAMPLED)):
            exporter.ended(call(name, parent))
        assert [await collector.names.get() for _ in range(2)] == ["Sampled", "work"]
    assert collector.names.empty()


async def test_by_chance_only_calls_with_steps_are_exported(collector: Collector) -> None:
    exporter = Exporter(collector.url, 1.0, period=0.01)
    async with running(exporter), asyncio.timeout(10):
        exporter.ended(call("Status", steps=[]))
        exporter.ended(call("Run"))
        assert await collector.names.get() == "Run"


async def test_a_collector_that_fails_costs_its_spans_only(collector: Collector) -> None:
    collector.failures = 1
    exporter = Exporter(collector.url, 1.0, period=0.01)
    async with running(exporter), asyncio.timeout(10):
        exporter.ended(call("Lost"))
        await collector.failed.wait()
        exporter.ended(call("Run"))
        assert await collector.names.get() == "Run"


async def test_what_waits_at_the_end_is_exported_and_what_waits_is_bounded(collector: Collector) -> None:
    exporter = Exporter(collector.url, 1.0, period=1000, last=60)
    async with running(exporter):
        await asyncio.sleep(0)
        for _ in range(HELD):
            exporter.ended(call("Run"))
    assert collector.names.qsize() == HELD
