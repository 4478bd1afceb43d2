"""One client of the streams of a container whose shim is not ours."""

from __future__ import annotations

import asyncio
import contextlib
import os

from core.errdefs import CrispError
from core.shim.audience import Outlet
from core.shims.foreign_client import ForeignClient
from core.tasks.container_io import ContainerIO
from core.tasks.pipes import PipeSink, PipeSource
from core.tasks.streams import Streams


class FifoAttach:
    """`Streams`. The container's own end of its output ends the sources."""

    def __init__(
        self,
        container_id: str,
        io: ContainerIO,
        client: ForeignClient,
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    ) -> None:
        """Raises OSError."""
        self._container_id = container_id
        self._io = io
        self._client = client
        self._failure: CrispError | None = None
        self._closing: asyncio.Future[None] | None = None
        self._outlets: list[Outlet] = []
        self._typing = io.typing() if stdin else -1
        self.stdin = PipeSink(self._typing, self._stdin_closed) if self._typing >= 0 else None
        self.stdout = self._join("stdout") if stdout else None
        self.stderr = self._join("stderr") if stderr else None

    async def resize(self, width: int, height: int) -> None:
        if self._io.io.terminal:
            with contextlib.suppress(CrispError):  # it has ended
                await self._client.resize(self._container_id, "", width, height)

    async def close(self) -> None:
        self._end_sources()
        if self.stdin:
            self.stdin.end()
        for outlet in self._outlets:
            outlet.close()
            outlet.close_read_end()
        self._stop_typing()
        if self._closing:
            with contextlib.suppress(CrispError):
                await self._closing

    def _join(self, stream: str) -> PipeSource | None:
        outlet = self._io.join(stream, self._dropped)
        if outlet is None:
            return None
        self._outlets.append(outlet)
        os.set_blocking(outlet.read_end, False)
        return PipeSource(outlet.read_end, lambda: self._failure)

    def _dropped(self, error: CrispError) -> None:
        self._failure = error

    def _end_sources(self) -> None:
        for source in (self.stdout, self.stderr):
            if source:
                source.end()

    def _stop_typing(self) -> None:
        if self._typing >= 0:
            os.close(self._typing)
            self._typing = -1

    def _stdin_closed(self) -> None:
        """The container reads an end of file if this client was to be the only one, else the attach is over."""
        if self._io.io.terminal or not self._io.io.stdin_once:
            self._end_sources()
            return
        self._stop_typing()
        self._io.close_stdin()
        self._closing = asyncio.ensure_future(self._client.close_stdin(self._container_id, ""))


_fits: type[Streams] = FifoAttach
