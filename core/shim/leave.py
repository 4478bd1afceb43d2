"""How a worker ends that has nothing to do: with all that it knows and holds left to the keeper."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from dataclasses import asdict

from core.failpoint import failpoint
from core.log import get_logger
from core.shim.keeper import MAX_FDS
from core.shim.link import KeeperLink
from core.shim.luggage import Luggage
from core.shim.pod import Pod
from core.shim.rest import Rest

log = get_logger(__name__)


class Leave:
    def __init__(
        self,
        pod: Pod,
        link: KeeperLink,
        rest: Rest,
        listeners: Iterable[socket.socket],
        residents: set[asyncio.Task[None]],
    ) -> None:
        """`residents` are tasks that are always there, beside the one that makes this."""
        self._pod = pod
        self._link = link
        self._rest = rest
        self._listeners = [listener.fileno() for listener in listeners]
        self._residents = {*residents, asyncio.current_task()}

    @property
    def pause(self) -> float:
        """Seconds until an attempt is worth it."""
        return self._rest.pause

    def attempt(self) -> None:
        """End this process if all is quiet; else, and when the keeper cannot take what there is, do nothing.

        Nothing else runs in between, and nothing that comes meanwhile is read here: it is the next worker's.
        """
        if not self._rest.is_quiet() or not self._is_idle():
            return
        luggage = self._packed()
        failpoint("shim.sleep.packed")
        try:
            if len(luggage.fds) <= MAX_FDS:
                self._link.leave(luggage)
        except OSError as exc:
            log.error("worker stays", error=exc)
        os.close(luggage.fds[-1])

    def _is_idle(self) -> bool:
        """Every call, exec, client and run of the OCI runtime is a task; what is none, the pod knows."""
        expected = self._residents | self._pod.containers.waiting()
        return self._pod.at_rest and asyncio.all_tasks() == expected

    def _packed(self) -> Luggage:
        luggage = Luggage()
        luggage.close(
            {
                "place": asdict(self._pod.place),
                "rest": self._rest.put_down(),
                "listeners": [luggage.pack(fd, wakes=True) for fd in self._listeners],
                "pod": self._pod.put_down(luggage),
            }
        )
        return luggage
