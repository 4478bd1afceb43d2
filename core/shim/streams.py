"""streams.sock: clients' holds on the streams of processes, as crisp_shim.proto has them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

from core.api.crisp_shim_pb2 import StreamsEvent
from core.errdefs import CrispError, ResourceExhausted
from core.linux.sockets import peer_credentials
from core.log import get_logger
from core.shim.attach_session import serve_attach
from core.shim.containers import Containers
from core.shim.exec_session import serve_exec
from core.shim.session import Session
from core.ttrpc.status import to_status

log = get_logger(__name__)

MAX_SESSIONS = 1000
"""At a time in one pod; each is a few descriptors of this process, whose limit is rarely less than 1024."""
ACCEPT_RETRY = 0.2
"""Seconds until the next try when accept(2) failed for want of descriptors."""


class StreamsServer:
    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._sessions: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
        """Serve inside the block, by the task that accepts; at its end clients are hung up on and `listener` closed."""
        with listener:
            listener.setblocking(False)
            accepting = asyncio.ensure_future(self._accept(listener))
            try:
                yield accepting
            finally:
                for task in (accepting, *self._sessions):
                    task.cancel()
                await asyncio.gather(accepting, *self._sessions, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            except OSError as exc:
                log.error("client of streams not accepted", error=exc)
                await asyncio.sleep(ACCEPT_RETRY)
                continue
            task = asyncio.ensure_future(self._serve(connection))
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            peer = peer_credentials(connection)
            if peer.uid != os.geteuid():  # beyond the modes of socket and directory (CVE-2020-15257)
                log.warning("client of streams refused", uid=peer.uid, pid=peer.pid)
                return
            session = Session(connection)
            try:
                await self._open(session)
            except (CrispError, OSError) as exc:
                session.tell(StreamsEvent(error=to_status(exc)))
            except Exception as exc:  # the edge: this process has other clients and containers
                log.exception("streams failed")
                session.tell(StreamsEvent(error=to_status(exc)))

    async def _open(self, session: Session) -> None:
        if len(self._sessions) > MAX_SESSIONS:
            raise ResourceExhausted(f"{MAX_SESSIONS} execs and attaches are open in this pod: end one first")
        request, process = await session.receive()
        container = self._containers.get(request.container_id)
        async with session.watched():
            if request.exec:
                await serve_exec(container, self._containers.exec_turn, request, process, session)
            else:
                await serve_attach(container, request, session)
