"""systemd's watchdog (sd_watchdog_enabled(3)): it hears of us as long as CRI answers, and else starts us anew."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from core.log import get_logger
from cri.grpc.codes import Code
from cri.grpc.probe import ask
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
            code = await asyncio.wait_for(ask(address, _METHOD), within / 3)
        except (OSError, EOFError, TimeoutError) as exc:
            log.error("CRI does not answer", address=address, error=exc)
        else:
            if code is Code.OK:
                notify("WATCHDOG=1")
            else:
                log.error("CRI does not answer well", address=address, code=code.name)
        await asyncio.sleep(within / 3)
