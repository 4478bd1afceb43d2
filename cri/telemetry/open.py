"""[metrics]: off when its address is empty, and then nothing of it is loaded: 4 MiB, and 70 ms of the start."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from core.errdefs import InvalidArgument
from core.telemetry import SILENT, Telemetry

Gauges = Mapping[str, tuple[str, Callable[[], float]]]
"""What is looked up when somebody asks: name to help and value."""


def make_telemetry(address: str) -> Telemetry:
    """Raises InvalidArgument for an address that is none."""
    if not address:
        return SILENT
    split_address(address)
    from cri.telemetry.prometheus import PrometheusTelemetry  # noqa: PLC0415 - see above

    return PrometheusTelemetry()


@contextlib.asynccontextmanager
async def exposed(
    address: str, telemetry: Telemetry, gauges: Gauges, problems: Callable[[], Mapping[str, str]]
) -> AsyncIterator[None]:
    """Serve what `make_telemetry` made, with `gauges` and the parts that have problems, while the block runs."""
    if not address:
        yield
        return
    from cri.telemetry.endpoint import Endpoint  # noqa: PLC0415 - see above
    from cri.telemetry.prometheus import PrometheusTelemetry  # noqa: PLC0415

    assert isinstance(telemetry, PrometheusTelemetry)
    telemetry.watch(gauges, problems)
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
