"""gRPC on a unix socket. Why this is ours: ADR 8."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence

from cri.grpc.session import Route, Session

BACKLOG = 1024
"""Connections that may wait to be accepted, for when the loop is busy."""
LINGER = 1.0
"""Seconds that the last answers have to leave, when the server stops."""


class Server:
    """`routes` are by path: /package.Service/Method."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes
        self._sessions: set[Session] = set()
        self._listener: asyncio.Server | None = None
        self._path = ""

    async def start(self, path: str) -> None:
        """Listen at `path`, mode 0660; a socket that lies there is replaced. Raises OSError."""
        before = os.umask(0o117)  # the socket is never open to others, not even before a chmod
        try:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_unix_server(self._accept, path, backlog=BACKLOG)
        finally:
            os.umask(before)
        self._path = path

    async def stop(self, grace: float = 0.0) -> None:
        """Take no new calls, give those under way `grace` seconds, then cancel them and hang up."""
        if self._listener is None:
            return
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        for session in self._sessions:
            session.leave()
        await _settle([task for session in self._sessions for task in session.tasks()], grace)
        await _settle([asyncio.create_task(session.close()) for session in self._sessions], LINGER)
        for session in tuple(self._sessions):
            session.abort()

    def _accept(self) -> Session:
        return Session(self._routes, self._sessions)


async def _settle(tasks: Sequence[asyncio.Task[None]], grace: float) -> None:
    """Wait for all of `tasks`; cancel those that take longer than `grace` seconds."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
