"""The life of a keeper, played in the zygote: see core/shim/rehearsal.py. Its few functions have few pages, but so many
keepers."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence

from core.linux.fork import fork
from core.log import get_logger
from core.shim.keeper import EXIT, REAP, Keeper
from core.shim.link import KeeperLink
from core.shim.luggage import Luggage
from core.shim.rehearsal import ROUNDS

log = get_logger(__name__)


def rehearse_keeper() -> None:
    """Leaves what `rehearse` leaves: nothing. What fails costs memory, and is logged."""
    rounds, write = os.pipe()
    os.write(write, bytes(ROUNDS))
    os.close(write)
    try:
        with contextlib.closing(Keeper()) as keeper:
            keeper.keep(_play, _play, (rounds,))
    except Exception:  # a zygote that is not warm is better than none
        log.exception("keeper not warmed up")


def _play(control: socket.socket, fds: Sequence[int]) -> None:
    """One round: an orphan ends, and the worker rests, until there are no more bytes in the first of `fds`."""
    link = KeeperLink(control)
    link.name("rehearsal")
    _orphan()
    control.recv(EXIT.size)
    control.send(REAP)
    if os.read(fds[0], 1):
        luggage = Luggage()
        luggage.pack(fds[0], wakes=True)
        luggage.close({})
        link.leave(luggage)


def _orphan() -> None:
    """A process that the keeper will have to reap."""
    if (child := fork()) == 0:
        fork()
        os._exit(0)
    os.waitpid(child, 0)
