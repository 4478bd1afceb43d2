"""sd_notify(3): tell systemd how we are, when systemd asks."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send `state` (`READY=1`, `STOPPING=1`, `WATCHDOG=1`) to $NOTIFY_SOCKET; nothing without one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket, in the notation of systemd
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.sendto(state.encode(), address)
