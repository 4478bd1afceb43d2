"""A worker's life: it serves one pod, from the beginning or from where another has left it, until all is quiet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Sequence

from core.errdefs import CrispError
from core.failpoint import failpoint
from core.files.atomic import write_atomic
from core.linux.pidfd import ProcessIdentity, boot_id
from core.shim.farewell import leave_with_node
from core.shim.leave import Leave
from core.shim.link import KeeperLink
from core.shim.log_counts import LogCounter
from core.shim.luggage import Luggage, Packed
from core.shim.pod import Place, Pod
from core.shim.rest import Rest
from core.ttrpc.address import listen

VERSION = 1
"""Of shim.json, which a newer crispd reads."""
FAREWELL = 2.0
"""Seconds for the last events to reach the daemon at shutdown."""
HANDSHAKE = 30.0
"""Seconds for whoever started the shim to ask for a pod. One that nobody knows of, since its zygote was killed as it
forked, ends by itself (hazards 3.3)."""

Listeners = tuple[socket.socket, socket.socket]
"""shim.sock and streams.sock."""


async def serve(place: Place, listener: socket.socket, link: KeeperLink | None = None) -> None:
    """Serve a new pod until it is shut down; then nobody listens any more and all events are told.

    With a keeper behind `link` this process ends, too, when there is nothing to do.
    """
    streams = listen(os.path.join(place.dir, "streams.sock"), kind=socket.SOCK_SEQPACKET)
    await _serve(place, (listener, streams), link, None)


async def resume(fds: Sequence[int], link: KeeperLink) -> None:
    """Go on as `serve` does from where another worker has left `fds`."""
    luggage, state = Luggage.open(fds)
    listener, streams = (socket.socket(fileno=luggage.unpack(at)) for at in state["listeners"])
    await _serve(Place(**state["place"]), (listener, streams), link, (state, luggage))


async def _serve(
    place: Place, listeners: Listeners, link: KeeperLink | None, left: tuple[Packed, Luggage] | None
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        counter = stack.enter_context(contextlib.closing(LogCounter(place.dir)))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        shim = link.pid if link else os.getpid()
        pod = Pod(place, group, counter, shim)
        pod.reaper.install()
        if left:
            await pod.take_up(left[0]["pod"], left[1])
            failpoint("shim.wake.resumed")
            group.create_task(leave_with_node(pod))  # it may be why we were woken
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: group.create_task(leave_with_node(pod)))
        publishing = group.create_task(pod.publisher.run())
        async with pod.server.serving(listeners[0]), pod.streams.serving(listeners[1]) as accepting:
            if not left:
                _save_identity(place.dir, shim)
            if link:
                link.listen(pod.reaper.settle)  # now that all whose exits it may tell are watched
                rest = Rest(place.quiet, left and left[0]["rest"])
                await _wait_over(pod, Leave(pod, link, rest, listeners, {publishing, accepting}))
            else:
                await _wait_over(pod, None)
        await pod.publisher.wait_empty(FAREWELL)
        publishing.cancel()
        for container in pod.containers.list():
            with contextlib.suppress(CrispError):
                await container.kill(signal.SIGKILL, everything=True)


async def _wait_over(pod: Pod, leave: Leave | None) -> None:
    """Wait until the pod is over; not for ever when nobody has wanted one in time."""
    patience = HANDSHAKE
    while not pod.over.is_set() and patience > 0:
        pause = leave.pause if leave else patience
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if pod.wanted and not leave else pause):
                await pod.over.wait()
        if not pod.wanted:
            patience -= pause
        elif leave:
            leave.attempt()


def _save_identity(directory: str, shim: int) -> None:
    """shim.json: who serves this sandbox, for a later crispd to be sure of."""
    identity = ProcessIdentity.of(shim)
    document = {"version": VERSION, "pid": identity.pid, "start_time": identity.start_time, "boot_id": boot_id()}
    write_atomic(os.path.join(directory, "shim.json"), json.dumps(document).encode(), durable=False)
