"""sd_notify(3): tell systemd how we are, when systemd asks."""

from __future__ import annotations

import os
import socket

from core.log import get_logger

log = get_logger(__name__)

PATIENCE = 0.2
"""Seconds for a queue that is full, in which everything else waits, too."""


def notify(state: str) -> None:
    """Send `state` (`READY=1`, `STOPPING=1`, `WATCHDOG=1`) to $NOTIFY_SOCKET; nothing without one.

    A listener that does not listen holds up nobody: it misses what is said.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket, in the notation of systemd
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.settimeout(PATIENCE)
        try:
            out.sendto(state.encode(), address)
        except OSError as exc:
            log.warning("systemd does not listen", state=state, error=exc)
