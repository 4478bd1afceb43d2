"""One shim process that we know to be ours, and the connection to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from core.errdefs import CrispError
from core.linux.cgroup import read_file
from core.linux.pidfd import ProcessIdentity, exited
from core.log import get_logger
from core.shim.keeper import WORKER
from core.shims.bundle import Runtime, SandboxDir
from core.shims.client import ShimClient
from core.shims.foreign_client import ForeignClient
from core.ttrpc.client import Client

log = get_logger(__name__)

FAREWELL = 5.0  # seconds for a shim to go after it has been asked: it tells its last events, at most 2 s
DEATH = 2.0  # seconds for the kernel to end it after SIGKILL


class Shim:
    """Watched from construction to its end; `on_exit` is called once, on the loop, unless `leave` came first."""

    def __init__(
        self,
        sandbox_id: str,
        directory: SandboxDir,
        runtime: Runtime,
        identity: ProcessIdentity,
        on_exit: Callable[[Shim], None],
    ) -> None:
        """Raises ProcessLookupError when the process has ended."""
        self.sandbox_id = sandbox_id
        self.directory = directory
        self.runtime = runtime
        self.exited = asyncio.Event()
        self.pid = identity.pid
        self._pidfd = _open(identity)
        self._on_exit = on_exit
        self._client: ShimClient | None = None
        self._connecting = asyncio.Lock()
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    async def client(self) -> ShimClient:
        """The connection, made anew when it was lost. Raises Unavailable."""
        async with self._connecting:
            if self._client is None or not self._client.connected:
                endpoint = self.directory.endpoint()
                connection = await Client.connect(endpoint.socket)
                kind = ForeignClient if self.runtime.shim else ShimClient
                self._client = kind(connection, endpoint.task_api)
            return self._client

    async def foreign(self) -> ForeignClient:
        """The same, of a shim that is not ours."""
        client = await self.client()
        assert isinstance(client, ForeignClient)
        return client

    async def end(self) -> None:
        """End the process, by word or by SIGKILL; then `exited` is set, unless the kernel cannot end it."""
        with contextlib.suppress(CrispError):
            await (await self.client()).shutdown_sandbox(self.sandbox_id)
            await _wait(self.exited, FAREWELL)
        if not self.exited.is_set():
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL; then `exited` is set, unless the kernel cannot end it."""
        log.warning("shim killed", sandbox_id=self.sandbox_id)
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        await _wait(self.exited, DEATH)

    def leave(self) -> None:
        """Hang up and watch no more; the shim goes on. Idempotent."""
        if self._client:
            self._client.close()
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _ended(self) -> None:
        self.leave()
        self.exited.set()
        self._on_exit(self)


def worker_of(shim: int) -> int | None:
    """The pid of the worker that a shim of ours has now; None while it sleeps."""
    try:
        for pid in map(int, read_file(f"/proc/{shim}/task/{shim}/children").split()):
            if read_file(f"/proc/{pid}/comm").rstrip() == WORKER:
                return pid
    except OSError:  # it is just ending
        pass
    return None


def _open(identity: ProcessIdentity) -> int:
    pidfd = identity.open()
    if exited(pidfd):
        os.close(pidfd)
        raise ProcessLookupError(f"process {identity.pid} has ended and is not reaped")
    return pidfd


async def _wait(event: asyncio.Event, timeout: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await event.wait()
