"""Spans to a collector, by OTLP over HTTP with JSON. Imported only where [tracing] has an endpoint.

Without OpenTelemetry's SDK, which for the same costs the daemon 15 MiB, a thread and eleven packages. What the
collector does not take in time is dropped and counted: no call waits for it, and no memory grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import deque
from importlib.metadata import version
from typing import Any

import aiohttp
import msgspec

from core.log import get_logger
from core.steps import Call
from cri.telemetry.otlp import export_request, parse_parent, spans_of

log = get_logger(__name__)

PERIOD = 2.0
"""Seconds between two exports."""
HELD = 8192
"""Spans that wait for an export: more than 300 pod starts make in PERIOD, 6 MiB."""
BATCH = 512
"""Spans of one export, as the SDK's default: 200 KiB, which take 1 ms of the event loop."""
LAST = 1.0
"""Seconds that the daemon's end waits for the last export."""
PATIENCE = 10.0
"""Seconds for the collector to answer, as the SDK's default."""
_JSON = {"Content-Type": "application/json"}


class Exporter:
    def __init__(self, endpoint: str, sample: float, *, period: float = PERIOD, last: float = LAST) -> None:
        """`endpoint` is the URL that takes traces, `sample` the share of calls that are exported though no client's
        trace asks for it."""
        self._endpoint = endpoint
        self._sample = sample
        self._period = period
        self._last = last
        self._spans: deque[dict[str, Any]] = deque(maxlen=HELD)
        self._dropped = 0
        self._resource = {
            "service.name": "crispd",
            "service.version": version("crispd"),
            "host.name": socket.gethostname(),
        }

    def ended(self, call: Call) -> None:
        """Export `call` when its client's trace, or chance, wants it. Without a trace, lists and statuses are left."""
        parent = parse_parent(call.parent)
        if parent.sampled if parent else call.steps and random.random() < self._sample:  # noqa: S311 - no secret
            spans = spans_of(call, parent)
            self._dropped += max(0, len(self._spans) + len(spans) - HELD)
            self._spans.extend(spans)

    async def run(self) -> None:
        """Export for ever; when cancelled what waits is exported once more."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
            try:
                while True:
                    await asyncio.sleep(self._period)
                    await self._flush(session)
            finally:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._last):
                        await self._flush(session)

    async def _flush(self, session: aiohttp.ClientSession) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            log.warning("spans dropped", count=dropped, endpoint=self._endpoint)
        while self._spans:
            await self._post(session, [self._spans.popleft() for _ in range(min(BATCH, len(self._spans)))])

    async def _post(self, session: aiohttp.ClientSession, spans: list[dict[str, Any]]) -> None:
        body = msgspec.json.encode(export_request(spans, self._resource))
        try:
            async with session.post(self._endpoint, data=body, headers=_JSON) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as exc:
            log.warning("spans not exported", count=len(spans), endpoint=self._endpoint, error=str(exc) or "no answer")
