"""systemd's watchdog (sd_watchdog_enabled(3)): it hears of us as long as CRI answers, and else starts us anew."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import grpc

from core.log import get_logger
from cri.notify import notify

log = get_logger(__name__)

_METHOD = "/runtime.v1.RuntimeService/Status"  # what the kubelet asks to know the same


def interval(environment: Mapping[str, str]) -> float:
    """Seconds within which systemd wants to hear of us; 0 when it does not."""
    meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(environment.get("WATCHDOG_USEC", "0")) / 1e6 if meant else 0.0


async def keep_alive(address: str, within: float) -> None:
    """Tell systemd three times `within` seconds that the socket at `address` answers; for ever.

    Each time by a connection of its own: a socket that nobody can reach any more, since its file is gone, does not
    answer. And a loop that stands still comes here as rarely as to anybody else.
    """
    while True:
        try:
            await asyncio.wait_for(_ask(address), within / 3)
            notify("WATCHDOG=1")
        except (grpc.aio.AioRpcError, TimeoutError) as exc:
            log.error("CRI does not answer", address=address, error=exc)
        await asyncio.sleep(within / 3)


async def _ask(address: str) -> None:
    async with grpc.aio.insecure_channel(f"unix:{address}") as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        await call(b"")
