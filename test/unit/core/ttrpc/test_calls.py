"""Client and server against each other, and against peers that misbehave, over real sockets."""

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty

from core import errdefs
from core.api import crisp_shim_pb2, task_v3_pb2
from core.api.crisp_shim_pb2 import ExecOutput, ExecSyncRequest, ReopenLogRequest
from core.api.task_v3_pb2 import (
    ConnectRequest,
    ConnectResponse,
    KillRequest,
    ShutdownRequest,
    WaitRequest,
    WaitResponse,
)
from core.api.ttrpc_pb2 import Request, Response
from core.ttrpc.address import listen
from core.ttrpc.client import Client
from core.ttrpc.frames import HEADER, MAX_DATA, Flags, Frame, FrameReader, FrameType
from core.ttrpc.server import Server, snake_case
from core.ttrpc.status import from_status, to_status

TASK = "containerd.task.v3.Task"
SHIM = "crisp.shim.v1.Shim"


class Tasks:
    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.exited = asyncio.Event()
        self.waited = asyncio.Event()

    async def connect(self, request: ConnectRequest) -> ConnectResponse:
        return ConnectResponse(shim_pid=7, version=request.id)

    async def wait(self, request: WaitRequest) -> WaitResponse:
        self.waiting.set()
        await self.exited.wait()
        self.waited.set()
        return WaitResponse(exit_status=3)

    async def kill(self, request: KillRequest) -> Empty:
        raise errdefs.NotFound(f"task {request.id!r}")

    async def shutdown(self, request: ShutdownRequest) -> Empty:
        raise ZeroDivisionError("nobody planned this")


class Shim:
    def __init__(self) -> None:
        self.sent = 0
        self.ended = asyncio.Event()

    async def exec_sync(self, request: ExecSyncRequest) -> AsyncIterator[ExecOutput]:
        try:
            for _ in range(request.limit):
                self.sent += 1
                yield ExecOutput(stdout=request.process)
            if request.timeout_ns:
                raise errdefs.DeadlineExceeded("exec timed out")
        finally:
            self.ended.set()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


@pytest.fixture
def shim() -> Shim:
    return Shim()


@pytest.fixture
async def server(path: str, tasks: Tasks, shim: Shim) -> AsyncIterator[Server]:
    server = Server()
    server.register(task_v3_pb2.DESCRIPTOR.services_by_name["Task"], tasks)
    server.register(crisp_shim_pb2.DESCRIPTOR.services_by_name["Shim"], shim)
    async with server.serving(listen(path)):
        yield server
        tasks.exited.set()


@pytest.fixture
async def client(server: Server, path: str) -> AsyncIterator[Client]:
    async with connected(path) as client:
        yield client


@contextlib.asynccontextmanager
async def connected(path: str) -> AsyncIterator[Client]:
    closed = asyncio.Event()
    client = await Client.connect(path, on_close=closed.set)
    yield client
    client.close()
    await closed.wait()


async def test_a_call_returns_the_reply(client: Client) -> None:
    reply = await client.call(TASK, "Connect", ConnectRequest(id="3"), ConnectResponse)
    assert (reply.shim_pid, reply.version) == (7, "3")


async def test_calls_run_side_by_side_on_one_connection(client: Client, tasks: Tasks) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(client.call(TASK, "Wait", WaitRequest(), WaitResponse))
        await tasks.waiting.wait()
        await client.call(TASK, "Connect", ConnectRequest(), ConnectResponse)
        assert not waiting.done()
        tasks.exited.set()
    assert waiting.result().exit_status == 3


async def test_an_error_keeps_its_class_and_message(client: Client) -> None:
    with pytest.raises(errdefs.NotFound, match="task 'gone'"):
        await client.call(TASK, "Kill", KillRequest(id="gone"), Empty)


async def test_an_unplanned_exception_is_internal_to_the_caller(client: Client) -> None:
    with pytest.raises(errdefs.Internal, match="nobody planned this"):
        await client.call(TASK, "Shutdown", ShutdownRequest(), Empty)


@pytest.mark.parametrize(("service", "method"), [(TASK, "Pause"), (TASK, "Nonsense"), ("no.Service", "Wait")])
async def test_what_is_not_served_is_unimplemented(client: Client, service: str, method: str) -> None:
    with pytest.raises(errdefs.Unimplemented, match=method):
        await client.call(service, method, Empty(), Empty)


async def test_a_deadline_ends_the_call_and_not_the_connection(client: Client, tasks: Tasks) -> None:
    with pytest.raises(errdefs.DeadlineExceeded):
        await client.call(TASK, "Wait", WaitRequest(), WaitResponse, timeout=0.01)
    tasks.exited.set()
    await tasks.waited.wait()  # its late reply is ignored
    await client.call(TASK, "Connect", ConnectRequest(), ConnectResponse)


async def test_a_stream_yields_each_message_and_ends(client: Client) -> None:
    request = ExecSyncRequest(process=b"x" * 1000, limit=2000)  # more than the socket holds
    outputs = [output async for output in client.stream(SHIM, "ExecSync", request, ExecOutput)]
    assert [output.stdout for output in outputs] == [b"x" * 1000] * 2000


async def test_a_stream_may_be_empty(client: Client) -> None:
    assert [output async for output in client.stream(SHIM, "ExecSync", ExecSyncRequest(), ExecOutput)] == []


async def test_a_stream_ends_with_the_error_of_its_handler(client: Client) -> None:
    outputs = []
    with pytest.raises(errdefs.DeadlineExceeded, match="exec timed out"):
        async for output in client.stream(SHIM, "ExecSync", ExecSyncRequest(limit=2, timeout_ns=1), ExecOutput):
            outputs.append(output)
    assert len(outputs) == 2


async def test_a_request_that_is_too_big_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(errdefs.ResourceExhausted):
        await client.call(SHIM, "ReopenLog", ReopenLogRequest(container_id="x" * MAX_DATA), Empty)
    await client.call(TASK, "Connect", ConnectRequest(), ConnectResponse)


async def test_a_reply_that_is_too_big_is_an_error_of_its_call_only(client: Client) -> None:
    with pytest.raises(errdefs.ResourceExhausted):
        await client.call(TASK, "Connect", ConnectRequest(id="x" * (MAX_DATA - 40)), ConnectResponse)
    await client.call(TASK, "Connect", ConnectRequest(), ConnectResponse)


async def test_a_lost_connection_fails_pending_and_later_calls_with_unavailable(path: str) -> None:
    closed = asyncio.Event()
    with listen(path) as listener:
        client = await Client.connect(path, on_close=closed.set)
        call = asyncio.ensure_future(client.call(TASK, "Wait", WaitRequest(), WaitResponse))
        peer, _ = await asyncio.to_thread(listener.accept)
        await asyncio.to_thread(peer.recv, 1)
        peer.close()
    with pytest.raises(errdefs.Unavailable):
        await call
    await closed.wait()
    assert not client.connected
    with pytest.raises(errdefs.Unavailable):
        await client.call(TASK, "Wait", WaitRequest(), WaitResponse)


async def test_a_path_longer_than_a_socket_address_works(tmp_path: Path, tasks: Tasks) -> None:
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    server = Server()
    server.register(task_v3_pb2.DESCRIPTOR.services_by_name["Task"], tasks)
    async with server.serving(listen(f"{directory}/shim.sock")), connected(f"{directory}/shim.sock") as client:
        assert (await client.call(TASK, "Connect", ConnectRequest(), ConnectResponse)).shim_pid == 7


def test_a_socket_has_its_mode_and_replaces_a_stale_one(path: str) -> None:
    for mode in (0o666 & ~0o22, 0o600):
        with listen(path, mode):
            assert stat.S_IMODE(os.stat(path).st_mode) == mode


async def test_connecting_where_nobody_listens_is_unavailable(path: str) -> None:
    with pytest.raises(errdefs.Unavailable, match=path):
        await Client.connect(path)


async def test_a_unary_handler_runs_to_its_end_when_the_caller_is_gone(server: Server, path: str, tasks: Tasks) -> None:
    async with connected(path) as client:
        call = asyncio.ensure_future(client.call(TASK, "Wait", WaitRequest(), WaitResponse))
        await tasks.waiting.wait()
    with pytest.raises(errdefs.Unavailable):
        await call
    tasks.exited.set()
    await tasks.waited.wait()


async def test_a_stream_that_nobody_reads_is_stopped(server: Server, path: str, shim: Shim) -> None:
    request = Request(
        service=SHIM, method="ExecSync", payload=ExecSyncRequest(process=bytes(65536), limit=10**6).SerializeToString()
    )
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.sendall(encoded(1, request))
        await asyncio.to_thread(peer.recv, 1)
    await shim.ended.wait()
    assert shim.sent < 100  # it had stopped at the high-water mark


async def test_serving_ends_after_replies_in_flight(path: str, tasks: Tasks) -> None:
    server = Server()
    server.register(task_v3_pb2.DESCRIPTOR.services_by_name["Task"], tasks)
    async with server.serving(listen(path)):
        client = await Client.connect(path)
        call = asyncio.ensure_future(client.call(TASK, "Wait", WaitRequest(), WaitResponse))
        await tasks.waiting.wait()
        asyncio.get_running_loop().call_soon(tasks.exited.set)
    assert (await call).exit_status == 3


@pytest.mark.parametrize("ids", [(2,), (3, 3), (3, 1)])
async def test_stream_ids_must_be_odd_and_grow(server: Server, path: str, ids: tuple[int, ...]) -> None:
    request = Request(service=TASK, method="Connect")
    replies = await talk(path, b"".join(encoded(stream_id, request) for stream_id in ids), len(ids))
    assert [Response.FromString(reply.data).status.code for reply in replies].count(3) == 1  # INVALID_ARGUMENT


async def test_the_end_of_a_client_stream_is_ignored(server: Server, path: str) -> None:
    end = Frame(stream_id=1, type=FrameType.DATA, flags=Flags.REMOTE_CLOSED | Flags.NO_DATA).encode()
    (reply,) = await talk(path, end + encoded(1, Request(service=TASK, method="Connect")), 1)
    assert reply.type is FrameType.RESPONSE


@pytest.mark.parametrize(
    "garbage",
    [
        HEADER.pack(MAX_DATA + 1, 1, FrameType.REQUEST, 0),
        HEADER.pack(0, 1, 9, 0),
        Frame(stream_id=1, type=FrameType.REQUEST, data=b"\xff").encode(),
    ],
)
async def test_a_peer_that_does_not_speak_ttrpc_is_hung_up_on(server: Server, path: str, garbage: bytes) -> None:
    assert await talk(path, garbage, 1) == []


def test_a_full_disk_is_told_as_what_it_is() -> None:
    error = from_status(to_status(OSError(errno.ENOSPC, "No space left on device")))
    assert isinstance(error, errdefs.ResourceExhausted)
    assert "free some space" in str(error)


def test_rpc_names_become_method_names() -> None:
    assert [snake_case(name) for name in ("State", "CloseIO", "ResizePty", "ExecSync")] == [
        "state",
        "close_io",
        "resize_pty",
        "exec_sync",
    ]


def encoded(stream_id: int, request: Request) -> bytes:
    return Frame(stream_id=stream_id, type=FrameType.REQUEST, data=request.SerializeToString()).encode()


async def talk(path: str, data: bytes, count: int) -> list[Frame]:
    """Send `data` byte by byte; return up to `count` frames of the answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    for byte in data:
        writer.write(bytes([byte]))
    parser = FrameReader()
    frames: list[Frame] = []
    with contextlib.suppress(ConnectionResetError):
        while len(frames) < count and (piece := await reader.read(65536)):
            frames += parser.feed(piece)
    writer.close()
    return frames
