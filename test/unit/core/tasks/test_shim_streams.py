import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.api.crisp_shim_pb2 import ExecExit, OpenStreams, StreamsEvent, StreamsOpened
from core.errdefs import FailedPrecondition, Internal, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from core.linux.sockets import recv_fds
from core.shim.session import MAX_REQUEST, Session
from core.tasks.shim_streams import ShimExec, ShimStreams
from core.ttrpc.address import listen
from core.ttrpc.status import to_status

EXEC = OpenStreams(container_id="c", exec=True, stdin=True, stdout=True)
ATTACH = OpenStreams(container_id="c", stdout=True)


class FakeShim:
    """The other end of one client's streams."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.listener = listen(path, kind=socket.SOCK_SEQPACKET)
        self.listener.settimeout(10)
        self.connection: socket.socket | None = None
        self.request = OpenStreams()
        self.process = b""
        self.read_end, self.write_end = os.pipe()

    async def accept(self) -> None:
        self.connection, _ = await asyncio.to_thread(self.listener.accept)
        data, fds = await asyncio.to_thread(recv_fds, self.connection, 4096, 1)
        self.request = OpenStreams.FromString(data)
        for fd in fds:
            self.process = os.pread(fd, 1 << 20, 0)
            os.close(fd)

    def tell(self, event: StreamsEvent, *fds: int) -> None:
        assert self.connection
        socket.send_fds(self.connection, [event.SerializeToString()], fds)

    async def open(self) -> None:
        """Accept a client, and give it the read end for its stdout."""
        await self.accept()
        opened = StreamsOpened(descriptors=[StreamsOpened.STDOUT])
        self.tell(StreamsEvent(opened=opened), self.read_end)

    def end_output(self) -> None:
        os.close(self.write_end)
        self.write_end = -1

    def hang_up(self) -> None:
        assert self.connection
        self.connection.close()

    def close(self) -> None:
        for end in (self.listener, self.connection):
            if end:
                end.close()
        for fd in (self.read_end, self.write_end):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[FakeShim]:
    before = len(os.listdir("/proc/self/fd"))
    shim = FakeShim(str(tmp_path / "streams.sock"))
    yield shim
    shim.close()
    assert len(os.listdir("/proc/self/fd")) == before


async def opened(shim: FakeShim, request: OpenStreams = EXEC, process: bytes = b"{}") -> ShimExec:
    opening = asyncio.create_task(ShimExec.open(shim.path, request, process, drain=0.05))
    await shim.open()
    return await opening


async def test_the_process_of_an_exec_may_be_larger_than_a_message(shim: FakeShim) -> None:
    process = os.urandom(1 << 19)
    streams = await opened(shim, process=process)
    assert (shim.request, shim.process) == (EXEC, process)
    await streams.close()


async def test_without_a_shim_there_are_no_streams(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"streams\.sock"):
        await ShimExec.open(str(tmp_path / "streams.sock"), EXEC, b"{}")


async def test_what_the_shim_refuses_with_is_raised(shim: FakeShim) -> None:
    opening = asyncio.create_task(ShimStreams.open(shim.path, ATTACH))
    await shim.accept()
    shim.tell(StreamsEvent(error=to_status(NotFound("task c"))))
    with pytest.raises(NotFound, match="task c"):
        await opening


async def test_a_shim_that_hangs_up_is_unavailable(shim: FakeShim) -> None:
    opening = asyncio.create_task(ShimStreams.open(shim.path, ATTACH))
    await shim.accept()
    shim.hang_up()
    with pytest.raises(Unavailable):
        await opening


async def test_streams_without_their_descriptors_are_an_error_and_leave_none(shim: FakeShim) -> None:
    opening = asyncio.create_task(ShimStreams.open(shim.path, ATTACH))
    await shim.accept()
    shim.tell(StreamsEvent(opened=StreamsOpened(descriptors=[StreamsOpened.STDOUT])), shim.read_end, shim.write_end)
    with pytest.raises(Internal, match="opened 1 streams and sent 2"):
        await opening


async def test_a_caller_that_gives_up_hangs_up(shim: FakeShim) -> None:
    opening = asyncio.create_task(ShimStreams.open(shim.path, ATTACH))
    await shim.accept()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert shim.connection
    assert await asyncio.to_thread(shim.connection.recv, 1) == b""


async def test_an_exec_is_over_with_its_exit_and_its_output_soon_after(shim: FakeShim) -> None:
    streams = await opened(shim)
    assert streams.stdout
    os.write(shim.write_end, b"output")
    waiters = [asyncio.create_task(streams.wait()) for _ in range(2)]
    shim.tell(StreamsEvent(exit=ExecExit(code=3)))
    shim.hang_up()
    assert await asyncio.gather(*waiters) == [3, 3]
    assert [await streams.stdout.read(100), await streams.stdout.read(100)] == [b"output", b""]
    await streams.close()
    assert await streams.wait() == 3


async def test_an_exec_whose_shim_vanishes_is_unavailable(shim: FakeShim) -> None:
    streams = await opened(shim)
    shim.hang_up()
    with pytest.raises(Unavailable):
        await streams.wait()
    await streams.close()


async def test_closing_ends_everybody_who_waits(shim: FakeShim) -> None:
    streams = await opened(shim)
    assert streams.stdout
    waiting, reading = asyncio.create_task(streams.wait()), asyncio.create_task(streams.stdout.read(1))
    await asyncio.sleep(0)
    await streams.close()
    assert await reading == b""
    with pytest.raises(FailedPrecondition):
        await waiting


async def test_a_dropped_client_of_an_attach_learns_why_after_what_was_sent(shim: FakeShim) -> None:
    streams = await opened(shim, ATTACH)
    assert streams.stdout
    os.write(shim.write_end, b"output")
    shim.tell(StreamsEvent(error=to_status(ResourceExhausted("too slow"))))
    shim.end_output()
    assert await streams.stdout.read(100) == b"output"
    with pytest.raises(ResourceExhausted, match="too slow"):
        await streams.stdout.read(100)
    await streams.close()


@pytest.mark.parametrize("message", [b"\xff" * 10, b"\xff" * (MAX_REQUEST + 1)])
async def test_the_shim_refuses_what_is_no_request(message: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(message)
        with pytest.raises(InvalidArgument):
            await Session(theirs).receive()
