"""The life of a pod, played in the zygote before it forks the first one.

CPython writes into code and types as it runs them for the first times (specialised instructions, caches, imports). What
has been written before the fork is shared, what is written after it is a page of each shim's own: 0.6 of 5.6 MiB. So
everything that a shim does is done here first, by its own code over its own socket. Nothing of it touches the node: no
namespace, no mount, true(1) for the OCI runtime and cat(1) for the container.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from google.protobuf.empty_pb2 import Empty

from core.api import crisp_shim_pb2, events_pb2, sandbox_pb2, task_v3_pb2
from core.files.dirs import temporary_dir
from core.log import get_logger
from core.shim.loop import ForkedLoop
from core.shim.pod import Place
from core.ttrpc.address import listen
from core.ttrpc.client import Client
from core.ttrpc.server import Server

log = get_logger(__name__)

RUNTIME = "/bin/true"
PROCESS = "/bin/cat"
ROUNDS = 10  # CPython 3.11 specialises a function at its 8th run; measured: 30 gain no more
_ID = "rehearsal"
_ANSWER = 10.0  # seconds, so that a node that is slow beyond reason gets its zygote, too

Serve = Callable[[Place, socket.socket], Coroutine[Any, Any, None]]
"""`core.shim.serve.serve`."""


class _Events:
    """The daemon's side of containerd.services.events.ttrpc.v1.Events."""

    async def forward(self, _request: events_pb2.ForwardRequest) -> Empty:
        return Empty()


def rehearse(serve: Serve) -> None:
    """Leaves no thread, descriptor, signal handler, child or file behind. What fails costs memory, and is logged."""
    try:
        for _ in range(ROUNDS):
            with temporary_dir() as directory, asyncio.Runner(loop_factory=_loop) as runner:
                runner.run(_rehearse(serve, directory))
    except Exception:  # a zygote that is not warm is better than none
        log.exception("shim not warmed up")


def _loop() -> ForkedLoop:
    loop = ForkedLoop()
    loop.own()
    return loop


async def _rehearse(serve: Serve, directory: str) -> None:
    events, sock = os.path.join(directory, "events.sock"), os.path.join(directory, "shim.sock")
    daemon = Server()
    daemon.register(events_pb2.DESCRIPTOR.services_by_name["Events"], _Events())
    async with daemon.serving(listen(events)), asyncio.TaskGroup() as group:
        place = Place(id=_ID, dir=directory, events=events, namespace="k8s.io")
        group.create_task(serve(place, listen(sock)))
        client = await Client.connect(sock)
        await _play(client, directory)
        client.close()


async def _play(client: Client, directory: str) -> None:
    sandbox = functools.partial(client.call, "containerd.runtime.sandbox.v1.Sandbox", timeout=_ANSWER)
    api = sandbox_pb2
    await sandbox("PingSandbox", api.PingRequest(sandbox_id=_ID), api.PingResponse)
    await sandbox("CreateSandbox", api.CreateSandboxRequest(sandbox_id=_ID), api.CreateSandboxResponse)
    await sandbox("StartSandbox", api.StartSandboxRequest(sandbox_id=_ID), api.StartSandboxResponse)
    await sandbox("SandboxStatus", api.SandboxStatusRequest(sandbox_id=_ID), api.SandboxStatusResponse)
    with _process(os.path.join(directory, "init.pid")):
        await _play_container(client, directory)
    await sandbox("StopSandbox", api.StopSandboxRequest(sandbox_id=_ID), api.StopSandboxResponse)
    await sandbox("ShutdownSandbox", api.ShutdownSandboxRequest(sandbox_id=_ID), api.ShutdownSandboxResponse)


async def _play_container(client: Client, bundle: str) -> None:
    task = functools.partial(client.call, "containerd.task.v3.Task", timeout=_ANSWER)
    api = task_v3_pb2
    create = api.CreateTaskRequest(id=_ID, bundle=bundle)
    create.options.Pack(crisp_shim_pb2.TaskOptions(runtime=RUNTIME, log_path=os.path.join(bundle, "log")))
    await task("Create", create, api.CreateTaskResponse)
    await task("Start", api.StartRequest(id=_ID), api.StartResponse)
    await task("State", api.StateRequest(id=_ID), api.StateResponse)
    await task("Pids", api.PidsRequest(id=_ID), api.PidsResponse)
    await task("Kill", api.KillRequest(id=_ID, signal=signal.SIGKILL), Empty)
    await task("Wait", api.WaitRequest(id=_ID), api.WaitResponse)
    await task("Delete", api.DeleteRequest(id=_ID), api.DeleteResponse)


@contextlib.contextmanager
def _process(pid_file: str) -> Iterator[None]:
    """A process that waits inside the block, its pid where the OCI runtime would have written it."""
    read, write = os.pipe()
    try:
        pid = os.posix_spawn(PROCESS, [PROCESS], {}, file_actions=[(os.POSIX_SPAWN_DUP2, read, 0)])
        with open(pid_file, "w", encoding="utf-8") as file:
            file.write(str(pid))
        yield
    finally:
        os.close(read)
        os.close(write)
