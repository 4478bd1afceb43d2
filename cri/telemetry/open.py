"""[metrics] and [tracing]: off when their address is empty, and then nothing of them is loaded: 4 MiB, and 70 ms of the
start."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from core.errdefs import InvalidArgument
from core.steps import Call
from core.telemetry import SILENT, Telemetry

Gauges = Mapping[str, tuple[str, Callable[[], float]]]
"""What is looked up when somebody asks, from a thread: name to help and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What there is now. All of it is asked from a thread, and may block it."""

    gauges: Gauges
    logged: Callable[[], Mapping[str, int]]
    """What shims have written into logs since their start: bytes, lines, split, dropped."""
    queues: Callable[[], Mapping[str, int]]
    """What waits, or is under way, by where it does."""
    pulling: Callable[[], Mapping[tuple[str, str], tuple[int, int, int]]]
    """Layers of running pulls by phase and host: how many, bytes that are here, bytes in all."""
    problems: Callable[[], Mapping[str, str]]
    """Parts that are not well, and why."""


def make_telemetry(address: str) -> Telemetry:
    """Raises InvalidArgument for an address that is none."""
    if not address:
        return SILENT
    split_address(address)
    from cri.telemetry.prometheus import PrometheusTelemetry  # noqa: PLC0415 - see above

    return PrometheusTelemetry()


class CallExporter(Protocol):
    def ended(self, call: Call) -> None: ...

    async def run(self) -> None:
        """Export for ever what has ended."""


def make_exporter(endpoint: str, sample: float) -> CallExporter | None:
    """None without an endpoint."""
    if not endpoint:
        return None
    from cri.telemetry.exporter import Exporter  # noqa: PLC0415 - see above

    return Exporter(endpoint, sample)


@contextlib.asynccontextmanager
async def exposed(
    address: str, telemetry: Telemetry, present: Present
) -> AsyncIterator[None]:
    """Serve what `make_telemetry` made, and what is `present`, while the block runs."""
    if not address:
        yield
        return
    from cri.telemetry.endpoint import Endpoint  # noqa: PLC0415 - see above
    from cri.telemetry.prometheus import PrometheusTelemetry  # noqa: PLC0415

    assert isinstance(telemetry, PrometheusTelemetry)
    telemetry.watch(present)
    endpoint = Endpoint(address, telemetry.exposition)
    await endpoint.start()
    try:
        yield
    finally:
        await endpoint.close()


def split_address(address: str) -> tuple[str, int]:
    """`127.0.0.1:9090`, `[::1]:9090` or `:9090`. Raises InvalidArgument."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise InvalidArgument(f"metrics.address {address!r}: want host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)
