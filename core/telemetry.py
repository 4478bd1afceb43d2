"""What is counted and timed for whoever watches the node. Where nobody does, `SILENT` takes it, which costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol


class Telemetry(Protocol):
    """Told of each thing when it has ended. An outcome is `ok`, `Cancelled`, or the class of the error."""

    def cri_call(self, method: str, code: str, seconds: float) -> None:
        """`code` is the name of the gRPC status."""

    def pull(self, outcome: str, seconds: float) -> None:
        """Of an image; equal pulls at the same time are one."""

    def fetched(self, host: str, size: int) -> None:
        """Bytes of a blob have come from `host`."""

    def cni(self, plugin: str, command: str, outcome: str, seconds: float) -> None: ...

    def collected(self, outcome: str, seconds: float) -> None:
        """Unneeded blobs and snapshots were removed."""


class _Silent:
    def cri_call(self, method: str, code: str, seconds: float) -> None:
        pass

    def pull(self, outcome: str, seconds: float) -> None:
        pass

    def fetched(self, host: str, size: int) -> None:
        pass

    def cni(self, plugin: str, command: str, outcome: str, seconds: float) -> None:
        pass

    def collected(self, outcome: str, seconds: float) -> None:
        pass


SILENT: Telemetry = _Silent()


@contextlib.contextmanager
def timed(report: Callable[[str, float], None]) -> Iterator[None]:
    """Report the outcome of the block, and its seconds."""
    started, outcome = time.monotonic(), "ok"
    try:
        yield
    except asyncio.CancelledError:
        outcome = "Cancelled"
        raise
    except BaseException as exc:
        outcome = type(exc).__name__
        raise
    finally:
        report(outcome, time.monotonic() - started)
