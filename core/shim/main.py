"""The shim's process: from the fork to ShutdownSandbox.

It owns the processes of one pod, whoever else lives or dies: crispd may be killed, upgraded and started again, and
finds it at its socket. What a successor of crispd needs lies in files: the shim's identity, exit records, logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import setproctitle

from core.api import crisp_shim_pb2, sandbox_pb2, task_v2_pb2, task_v3_pb2
from core.errdefs import CrispError
from core.files.atomic import write_atomic
from core.linux import prctl
from core.linux.cgroup import write_file
from core.linux.pidfd import ProcessIdentity, boot_id
from core.shim.containers import Containers
from core.shim.exec_sync import ShimService
from core.shim.farewell import leave_with_node
from core.shim.log_counts import LogCounter
from core.shim.loop import prepared
from core.shim.publish import Publisher
from core.shim.reaper import Reaper
from core.shim.rehearsal import rehearse
from core.shim.sandbox_service import SandboxService
from core.shim.streams import StreamsServer
from core.shim.task_service import TaskService
from core.ttrpc.server import Server

VERSION = 1
"""Of shim.json, which a newer crispd reads."""
FAREWELL = 2.0
"""Seconds for the last events to reach the daemon at shutdown."""
HANDSHAKE = 30.0
"""Seconds for whoever started the shim to ask for a pod. One that nobody knows of, since its zygote was killed as it
forked, ends by itself (hazards 3.3)."""
OOM_SCORE = -998
"""As both peers: nothing of the node but crispd itself shall outlive a pod's shim."""
_TASK_V3 = task_v3_pb2.DESCRIPTOR.services_by_name["Task"]
_TASK_V2 = task_v2_pb2.DESCRIPTOR.services_by_name["Task"]
_SANDBOX = sandbox_pb2.DESCRIPTOR.services_by_name["Sandbox"]
_SHIM = crisp_shim_pb2.DESCRIPTOR.services_by_name["Shim"]


def run_job(args: Mapping[str, Any], fds: Sequence[int], _report: Callable[[Mapping[str, Any]], None]) -> None:
    """The zygote's job `shim`: args `id`, `dir`, `events`, `namespace`; fds: the listening socket.

    Returns when it is told to shut down.
    """
    become_shim(args["id"], OOM_SCORE)
    listener = socket.socket(fileno=fds[0])
    loop = prepared()
    loop.own()
    loop.run_until_complete(serve(args["id"], args["dir"], args["events"], args["namespace"], listener))


def warm_up() -> None:
    """For the zygote, before it forks."""
    rehearse(serve)
    prepared()


def become_shim(sandbox_id: str, oom_score: int) -> None:
    """Process attributes: name, subreaper, OOM score, signals. Garbage collection would only copy shared pages."""
    gc.disable()
    gc.freeze()
    setproctitle.setproctitle(f"crisp-shim {sandbox_id}")
    prctl.set_name("crisp-shim")
    prctl.set_child_subreaper()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # until there is something to end
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with contextlib.suppress(PermissionError):
        write_file("/proc/self/oom_score_adj", str(oom_score))


async def serve(sandbox_id: str, directory: str, events: str, namespace: str, listener: socket.socket) -> None:
    """Serve one pod until it is shut down; then nobody listens any more and all events are told."""
    over = asyncio.Event()
    reaper = Reaper()
    publisher = Publisher(events, namespace)
    async with contextlib.AsyncExitStack() as stack:
        counter = stack.enter_context(contextlib.closing(LogCounter(directory)))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        containers = Containers(group, counter)
        server = Server()
        tasks = TaskService(containers, reaper, publisher, namespace, over.set)
        server.register(_TASK_V3, tasks)
        server.register(_TASK_V2, tasks)
        sandbox = SandboxService(sandbox_id, directory, reaper, over.set)
        server.register(_SANDBOX, sandbox)
        server.register(_SHIM, ShimService(containers))
        reaper.install()
        leave = partial(leave_with_node, containers, sandbox)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: group.create_task(leave()))
        publishing = group.create_task(publisher.run())
        async with server.serving(listener), StreamsServer(containers).serving(os.path.join(directory, "streams.sock")):
            _save_identity(directory)
            await _until_over(over, lambda: sandbox.created or bool(containers.list()))
        await publisher.wait_empty(FAREWELL)
        publishing.cancel()
        for container in containers.list():
            with contextlib.suppress(CrispError):
                await container.kill(signal.SIGKILL, everything=True)


async def _until_over(over: asyncio.Event, wanted: Callable[[], bool]) -> None:
    """Wait for `over`; not for ever when nobody has `wanted` anything in time."""
    try:
        async with asyncio.timeout(HANDSHAKE):
            await over.wait()
    except TimeoutError:
        if wanted():
            await over.wait()


def _save_identity(directory: str) -> None:
    """shim.json: who serves this sandbox, for a later crispd to be sure of."""
    identity = ProcessIdentity.of(os.getpid())
    document = {"version": VERSION, "pid": identity.pid, "start_time": identity.start_time, "boot_id": boot_id()}
    write_atomic(os.path.join(directory, "shim.json"), json.dumps(document).encode(), durable=False)
