"""A streaming server in this process, and the processes behind it played by coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from core.errdefs import Unavailable
from core.tasks.streams import ExecSpec
from cri import api
from cri.streaming.deps import StreamingDeps
from cri.streaming.server import Listen, StreamingServer
from cri.streaming.tls import TlsFiles
from rig.fake_streams import FakeContainerStreams, FakeExec, FakeStreams

CONTAINER = "c1"
SANDBOX = "s1"
Play = Callable[[FakeExec], Awaitable[None]]


async def cat(process: FakeExec) -> None:
    """Write what is read; end with it."""
    while data := await process.input.read(65536):
        await process.output.write(data)
    await process.exit(0)


class PlayedContainers(FakeContainerStreams):
    """Each exec plays `play`."""

    def __init__(self, group: asyncio.TaskGroup, play: Play) -> None:
        super().__init__(CONTAINER)
        self.play = play
        self.group = group
        self.opened = asyncio.Event()
        """Set when somebody execs or attaches."""

    async def exec(self, container_id: str, spec: ExecSpec) -> FakeExec:
        process = await super().exec(container_id, spec)
        self.group.create_task(self._play(process))
        self.opened.set()
        return process

    async def attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool) -> FakeStreams:
        streams = await super().attach(container_id, stdin=stdin, stdout=stdout, stderr=stderr)
        self.opened.set()
        return streams

    async def _play(self, process: FakeExec) -> None:
        played = asyncio.ensure_future(self.play(process))
        closed = asyncio.ensure_future(process.closed.wait())
        await asyncio.wait([played, closed], return_when=asyncio.FIRST_COMPLETED)
        played.cancel()  # closing kills it
        closed.cancel()


async def dial(_sandbox_id: str, port: int) -> socket.socket:
    """A port of this machine, as if it were the pod's. Next to nothing waits in the kernel."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    except OSError as exc:
        connection.close()
        raise Unavailable(f"port {port}: {os.strerror(exc.errno or 0)}") from exc
    return connection


class Rig:
    def __init__(self, server: StreamingServer, containers: PlayedContainers) -> None:
        self.server = server
        self.containers = containers

    def exec_url(self, *, tty: bool = False, stdin: bool = True, stdout: bool = True, stderr: bool = True) -> str:
        return self.server.url(
            api.ExecRequest(
                container_id=CONTAINER, cmd=["run"], tty=tty, stdin=stdin, stdout=stdout, stderr=stderr and not tty
            )
        )

    def attach_url(self, *, stdin: bool = True, stdout: bool = True, stderr: bool = True) -> str:
        return self.server.url(api.AttachRequest(container_id=CONTAINER, stdin=stdin, stdout=stdout, stderr=stderr))

    def forward_url(self, *ports: int) -> str:
        return self.server.url(api.PortForwardRequest(pod_sandbox_id=SANDBOX, port=ports))


@contextlib.asynccontextmanager
async def streaming(
    play: Play = cat,
    *,
    idle_timeout: float = 60,
    creation_timeout: float = 30,
    head_timeout: float = 10,
    address: str = "127.0.0.1",
    port: int = 0,
    tls: TlsFiles | None = None,
) -> AsyncIterator[Rig]:
    """A server for the block; no client, process or task is left after it."""
    async with asyncio.TaskGroup() as group:
        containers = PlayedContainers(group, play)
        deps = StreamingDeps(
            containers=containers,
            dial=dial,
            idle_timeout=idle_timeout,
            creation_timeout=creation_timeout,
            head_timeout=head_timeout,
        )
        server = StreamingServer(deps, Listen(address=address, port=port, tls=tls))
        await server.start()
        try:
            yield Rig(server, containers)
        finally:
            await server.stop()
        for streams in (*containers.execs, *containers.attached):
            assert streams.closed.is_set(), "somebody holds on to a process"
