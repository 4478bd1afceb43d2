"""The keeper, seen from its worker."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Never

import setproctitle

from core.shim.keeper import EXIT, NAME, REAP, SHIM, SLEEP, WORKER
from core.shim.luggage import Luggage


class KeeperLink:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.pid = os.getppid()
        """The keeper's, which is the pod's shim to the world."""

    def listen(self, on_exit: Callable[[int, int], None]) -> None:
        """Call `on_exit` with pid and exit code of each child of the keeper, whose pid is its own until it returns."""
        self._control.setblocking(False)
        asyncio.get_running_loop().add_reader(self._control, self._receive, on_exit)

    def name(self, pod: str) -> None:
        """Let keeper and worker show the id of `pod`."""
        self._control.sendall(NAME + pod.encode())
        setproctitle.setproctitle(f"{SHIM} {pod}")
        setproctitle.setthreadtitle(WORKER)

    def leave(self, luggage: Luggage) -> Never:
        """Leave `luggage` to the next worker and end this process, as it stands. Raises OSError; then it goes on."""
        socket.send_fds(self._control, [SLEEP + luggage.flags], luggage.fds)
        os._exit(0)

    def _receive(self, on_exit: Callable[[int, int], None]) -> None:
        message = self._control.recv(EXIT.size)
        if message:  # else the keeper has been killed, and so are we
            on_exit(*EXIT.unpack(message))
            self._control.send(REAP)
