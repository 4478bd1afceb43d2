"""Our ttrpc against Go's, both ways: containerd's own runc shim answers our client and reports to our server."""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty

from core.api import events_pb2, runc_options_pb2, task_types_pb2
from core.api.events_pb2 import ForwardRequest
from core.api.task_events_pb2 import TaskExit
from core.api.task_v3_pb2 import (
    ConnectRequest,
    ConnectResponse,
    CreateTaskRequest,
    CreateTaskResponse,
    DeleteRequest,
    DeleteResponse,
    ShutdownRequest,
    StartRequest,
    StartResponse,
    StateRequest,
    StateResponse,
    WaitRequest,
    WaitResponse,
)
from core.errdefs import NotFound, Unavailable, Unimplemented
from core.ttrpc.address import listen
from core.ttrpc.client import Client
from core.ttrpc.server import Server
from rig.bundles import CGROUP, make_bundle
from rig.cgroups import ensure_cgroups, remove_cgroups
from rig.patience import patient

pytestmark = pytest.mark.root

SHIM = "/usr/bin/containerd-shim-runc-v2"
TASK = "containerd.task.v2.Task"
NAMESPACE = "crisp-interop"


class Events:
    """What the shim reports, by topic, in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.exited = asyncio.Event()

    async def forward(self, request: ForwardRequest) -> Empty:
        envelope = request.envelope
        assert envelope.namespace == NAMESPACE
        self.seen.append((envelope.topic, envelope.event.value))
        if envelope.topic == "/tasks/exit":
            self.exited.set()
        return Empty()


@pytest.fixture
async def events(tmp_path: Path) -> AsyncIterator[Events]:
    events = Events()
    server = Server()
    server.register(events_pb2.DESCRIPTOR.services_by_name["Events"], events)
    async with server.serving(listen(str(tmp_path / "events.sock"))):
        yield events


@pytest.fixture
async def client(tmp_path: Path, events: Events) -> AsyncIterator[Client]:
    ensure_cgroups()
    bundle = make_bundle(tmp_path / "c", "exit 9")
    os.mkfifo(f"{bundle}/log")
    log = os.open(f"{bundle}/log", os.O_RDWR | os.O_NONBLOCK)  # kept: a shim that nobody listens to gets SIGPIPE
    address = start_shim(bundle, str(tmp_path / "events.sock"))
    client = await Client.connect(address)
    shim = (await client.call(TASK, "Connect", ConnectRequest(id="c"), ConnectResponse, timeout=patient(10))).shim_pid
    pidfd = os.pidfd_open(shim)
    try:
        yield client
        with contextlib.suppress(Unavailable):  # it may be gone before it has answered
            await client.call(TASK, "Shutdown", ShutdownRequest(id="c", now=True), Empty, timeout=patient(5))
        assert await asyncio.to_thread(select.select, [pidfd], [], [], 5) != ([], [], [])
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        client.close()
        os.close(pidfd)
        os.close(log)
        remove_cgroups(f"/{CGROUP}")


def start_shim(bundle: str, events: str) -> str:
    """`start` as containerd calls it; returns the socket's path."""
    command = [SHIM, "-namespace", NAMESPACE, "-id", "c", "-address", "/nowhere", "-publish-binary", "/bin/true"]
    environment = {**os.environ, "TTRPC_ADDRESS": events}
    done = subprocess.run(
        [*command, "start"], cwd=bundle, env=environment, capture_output=True, check=True, timeout=patient(20)
    )
    return done.stdout.decode().strip().removeprefix("unix://")


async def test_errors_come_through(client: Client) -> None:
    with pytest.raises(NotFound, match="not created"):
        await client.call(TASK, "State", StateRequest(id="c"), StateResponse, timeout=patient(10))
    with pytest.raises(Unimplemented):
        await client.call(TASK, "Nonsense", StateRequest(id="c"), StateResponse, timeout=patient(10))


async def test_a_container_runs_and_its_events_come_in_order(client: Client, events: Events, tmp_path: Path) -> None:
    request = CreateTaskRequest(id="c", bundle=str(tmp_path / "c"))
    options = runc_options_pb2.Options(binary_name="runc", root=str(tmp_path / "runc"))
    request.options.Pack(options)
    request.options.type_url = "containerd.runc.v1.Options"
    pid = (await client.call(TASK, "Create", request, CreateTaskResponse, timeout=patient(30))).pid
    waiting = asyncio.ensure_future(client.call(TASK, "Wait", WaitRequest(id="c"), WaitResponse, timeout=patient(30)))
    started = await client.call(TASK, "Start", StartRequest(id="c"), StartResponse, timeout=patient(30))
    assert started.pid == pid
    assert (await waiting).exit_status == 9
    state = await client.call(TASK, "State", StateRequest(id="c"), StateResponse, timeout=patient(10))
    assert (state.status, state.exit_status) == (task_types_pb2.STOPPED, 9)
    async with asyncio.timeout(patient(10)):
        await events.exited.wait()
    deleted = await client.call(TASK, "Delete", DeleteRequest(id="c"), DeleteResponse, timeout=patient(30))
    assert (deleted.pid, deleted.exit_status) == (pid, 9)
    topics = [topic for topic, _ in events.seen]
    assert topics[:3] == ["/tasks/create", "/tasks/start", "/tasks/exit"]
    exit_ = TaskExit.FromString(events.seen[2][1])
    assert (exit_.container_id, exit_.id, exit_.pid, exit_.exit_status) == ("c", "c", pid, 9)
