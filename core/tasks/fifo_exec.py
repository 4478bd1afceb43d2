"""An exec in a container whose shim is not ours: a process of its own, on FIFOs of its own, for one client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from typing import Any

from core.api.task_v3_pb2 import ExecProcessRequest
from core.errdefs import CrispError, FailedPrecondition
from core.files.dirs import remove_tree
from core.log import get_logger
from core.shim.stdio import Pump
from core.shims.foreign_client import ForeignClient
from core.tasks.fifos import Fifos, make_fifos, open_reading, open_writing
from core.tasks.pipes import PipeSink, PipeSource
from core.tasks.streams import ExecStreams

log = get_logger(__name__)

PROCESS = "types.containerd.io/opencontainers/runtime-spec/1/Process"  # containerd's typeurl of the JSON
END = 10.0
"""Seconds for a killed process to end, and for the shim to forget it."""


class FifoExec:
    """`ExecStreams`, once it is open."""

    def __init__(self, client: ForeignClient, container_id: str, directory: str, *, drain: float) -> None:
        """`directory`, whose name is the exec's id, gets the FIFOs."""
        self._client = client
        self._container_id = container_id
        self._id = os.path.basename(directory)
        self._directory = directory
        self._drain = drain
        self._fds = contextlib.ExitStack()
        self._typing = -1
        self._terminal = False
        self._exit: asyncio.Future[int] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._stdin_closing: asyncio.Future[None] | None = None
        self.stdin: PipeSink | None = None
        self.stdout: PipeSource | None = None
        self.stderr: PipeSource | None = None

    async def open(self, process: dict[str, Any], *, stdin: bool, stdout: bool, stderr: bool) -> None:
        """Start the process. Raises NotFound, FailedPrecondition (not running), Internal with the OCI runtime's words,
        OSError. On failure nothing is left, cancelled or not."""
        try:
            await self._open(process, stdin=stdin, stdout=stdout, stderr=stderr)
        except BaseException:
            await self.close()
            raise

    async def _open(self, process: dict[str, Any], *, stdin: bool, stdout: bool, stderr: bool) -> None:
        self._terminal = bool(process.get("terminal"))
        fifos = make_fifos(self._directory, stdin=stdin, stdout=True, stderr=not self._terminal)
        if stdin:
            self._typing = open_writing(fifos.stdin)
            self.stdin = PipeSink(self._typing, self._stdin_closed)
        # Read from only when this returns: with the shim's ends open, an empty FIFO is not at its end.
        self.stdout = self._source(fifos.stdout, wanted=stdout)
        self.stderr = self._source(fifos.stderr, wanted=stderr) if fifos.stderr else None
        await self._client.exec(self._request(process, fifos))
        self._exit = asyncio.ensure_future(self._client.wait(self._container_id, self._id))
        self._exit.add_done_callback(self._exited)
        await self._client.start_exec(self._container_id, self._id)

    def _request(self, process: dict[str, Any], fifos: Fifos) -> ExecProcessRequest:
        request = ExecProcessRequest(
            id=self._container_id, exec_id=self._id, terminal=self._terminal, **fifos._asdict()
        )
        request.spec.type_url = PROCESS
        request.spec.value = json.dumps(process).encode()
        return request

    async def wait(self) -> int:
        if self._exit is None:
            raise FailedPrecondition("exec: it did not start")
        return await asyncio.shield(self._exit)

    async def kill(self) -> None:
        with contextlib.suppress(CrispError):
            await self._client.kill_exec(self._container_id, self._id, signal.SIGKILL)

    async def resize(self, width: int, height: int) -> None:
        if self._terminal:
            with contextlib.suppress(CrispError):  # it has ended
                await self._client.resize(self._container_id, self._id, width, height)

    async def close(self) -> None:
        for source in (self.stdout, self.stderr):
            if source:
                source.end()
        if self.stdin:
            self.stdin.end()
        if self._expiry:
            self._expiry.cancel()
        try:
            await asyncio.shield(self._end())
        finally:
            self._stop_typing()
            self._fds.close()
            remove_tree(self._directory)

    async def _end(self) -> None:
        """Kill what runs and have the shim forget it."""
        try:
            async with asyncio.timeout(END):
                if self._stdin_closing:
                    await asyncio.wait([self._stdin_closing])
                if self._exit is not None and not self._exit.done():
                    await self.kill()
                    await asyncio.wait([self._exit])
                await self._client.delete_exec(self._container_id, self._id)
        except (CrispError, TimeoutError) as exc:  # the shim is gone, or does not know it (any more)
            log.debug("exec not ended", container_id=self._container_id, exec_id=self._id, error=exc)

    def _source(self, path: str, *, wanted: bool) -> PipeSource | None:
        fd = open_reading(path)
        if not wanted:
            self._fds.callback(Pump(fd, lambda _: None).close)
            return None
        self._fds.callback(os.close, fd)
        return PipeSource(fd, lambda: None)

    def _stdin_closed(self) -> None:
        """Half-close. The client of a terminal sees to the end itself."""
        if not self._terminal:
            self._stop_typing()
            self._stdin_closing = asyncio.ensure_future(self._close_stdin())

    def _stop_typing(self) -> None:
        if self._typing >= 0:
            os.close(self._typing)
            self._typing = -1

    async def _close_stdin(self) -> None:
        with contextlib.suppress(CrispError):  # it has ended
            await self._client.close_stdin(self._container_id, self._id)

    def _exited(self, exit_: asyncio.Future[int]) -> None:
        if not exit_.cancelled() and exit_.exception() is None:
            self._expiry = asyncio.get_running_loop().call_later(self._drain, self._expire)
        else:
            self._expire()

    def _expire(self) -> None:
        for source in (self.stdout, self.stderr):
            if source:
                source.expire()


_fits: type[ExecStreams] = FifoExec
