"""Streams of execs and of containers, down to the real shim, crun and busybox."""

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from core.errdefs import FailedPrecondition, Internal, NotFound, ResourceExhausted, Unavailable
from core.tasks.shim_streams import ShimExec, ShimStreams
from core.tasks.streams import ByteSource
from core.tasks.tasks import TaskIO
from core.zygote.process import ZygoteProcess
from rig.bundles import process
from rig.patience import patient
from rig.shim_node import POD, ShimNode, daemon, remove_cgroups, wait_gone

pytestmark = pytest.mark.root

CHUNK = 256 << 10
CUTS = int(os.environ.get("CUTS", "60"))
EXECS = int(os.environ.get("EXECS", "100"))
"""Sessions that are cut, and execs at once: hazards 2b and 3.35 have 1000 and 500, which take minutes."""


@pytest.fixture
async def pod(node: ShimNode) -> ShimNode:
    await node.sandboxes.start(POD)
    return node


@pytest.fixture
async def running(pod: ShimNode) -> AsyncIterator[ShimNode]:
    """A container "c" that sleeps. Ends with the proof that its streams left nothing, neither here nor in the shim."""
    await pod.run("c", "exec sleep 1000")
    ours, shims = fds(os.getpid()), shim_fds(pod)
    yield pod
    await eventually(lambda: len(shim_fds(pod)) <= len(shims), "the shim has closed its descriptors")
    assert len(fds(os.getpid())) <= len(ours)
    assert len(await pod.tasks.pids("pod", "c")) <= 1
    left = {"config.json", "exit.json", "init.pid", "log", "log.json", "rootfs"}
    assert set(os.listdir(pod.state / "containers/c")) <= left


def shim_fds(pod: ShimNode) -> list[str]:
    return [link for pid in pod.shim_processes() for link in fds(pid)]


def fds(pid: int) -> list[str]:
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return links


async def eventually(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(patient(20)):
        while not condition():
            await asyncio.sleep(0.01)  # between looks at the condition


async def execute(
    node: ShimNode,
    command: str,
    *,
    terminal: bool = False,
    stdin: bool = True,
    stdout: bool = True,
    stderr: bool = True,
) -> ShimExec:
    spec = process(command, terminal=terminal)
    return await node.tasks.exec("pod", "c", spec, stdin=stdin, stdout=stdout, stderr=stderr)


async def attach(node: ShimNode, *, stdin: bool = True, stdout: bool = True, stderr: bool = True) -> ShimStreams:
    return await node.tasks.attach("pod", "c", stdin=stdin, stdout=stdout, stderr=stderr)


async def read_all(source: ByteSource | None) -> bytes:
    assert source
    data = b""
    async with asyncio.timeout(patient(30)):
        while piece := await source.read(CHUNK):
            data += piece
    return data


async def read_until(source: ByteSource | None, wanted: bytes) -> bytes:
    assert source
    data = b""
    async with asyncio.timeout(patient(20)):
        while wanted not in data:
            piece = await source.read(CHUNK)
            assert piece, f"ended after {data!r}"
            data += piece
    return data


async def test_an_exec_reads_its_stdin_to_the_end_and_tells_its_code(running: ShimNode) -> None:
    streams = await execute(running, "cat; echo err >&2; exit 3")
    assert streams.stdin
    await streams.stdin.write(b"in")
    assert await read_until(streams.stdout, b"in") == b"in"
    await streams.stdin.close()
    assert await read_all(streams.stdout) == b""
    assert await read_all(streams.stderr) == b"err\n"
    assert await streams.wait() == 3
    with pytest.raises(FailedPrecondition):
        await streams.stdin.write(b"more")
    await streams.close()
    await streams.close()


async def test_what_an_exec_is_given_comes_back_whole(running: ShimNode) -> None:
    data = os.urandom(1 << 20) * 16
    streams = await execute(running, "exec cat")

    async def send() -> None:
        assert streams.stdin
        await streams.stdin.write(data)
        await streams.stdin.close()

    sending = asyncio.create_task(send())
    digest, size = hashlib.sha256(), 0
    assert streams.stdout
    while piece := await streams.stdout.read(CHUNK):
        digest.update(piece)
        size += len(piece)
    await sending
    assert (size, digest.digest()) == (len(data), hashlib.sha256(data).digest())
    assert await streams.wait() == 0
    await streams.close()


@pytest.mark.parametrize("terminal", [False, True])
async def test_what_nobody_wants_to_read_holds_nothing_up(running: ShimNode, terminal: bool) -> None:
    command = "cat; cat /bin/busybox; cat /bin/busybox >&2"
    streams = await execute(running, command, terminal=terminal, stdin=terminal, stdout=False, stderr=False)
    assert (streams.stdout, streams.stderr) == (None, None)
    if streams.stdin:
        await streams.stdin.write(b"\x04")
    async with asyncio.timeout(patient(20)):
        assert await streams.wait() == 0
    await streams.close()


async def test_no_stream_of_an_exec_is_the_nodes_own_device(running: ShimNode) -> None:
    streams = await execute(running, "for fd in 0 1 2; do readlink /proc/self/fd/$fd; done", stdin=False, stderr=False)
    assert streams.stdin is None
    assert streams.stderr is None
    links = (await read_all(streams.stdout)).decode().split()
    assert len(links) == 3
    assert all(link.startswith("pipe:") for link in links)
    await streams.close()


async def test_an_exec_on_a_terminal_sees_its_size_and_one_output(running: ShimNode) -> None:
    command = "trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.05; done"
    streams = await execute(running, command, terminal=True)
    assert streams.stderr is None
    await read_until(streams.stdout, b"ready\r\n")
    await streams.resize(132, 43)
    assert await read_all(streams.stdout) == b"43 132\r\n"
    assert await streams.wait() == 4
    await streams.resize(10, 10)
    await streams.close()
    await streams.resize(10, 10)


async def test_a_terminal_echoes_and_takes_control_characters(running: ShimNode) -> None:
    streams = await execute(running, "cat; echo over", terminal=True)
    assert streams.stdin
    await streams.stdin.write(b"typed\n")
    await read_until(streams.stdout, b"typed\r\ntyped\r\n")
    await streams.stdin.write(b"\x04")
    assert b"over\r\n" in await read_all(streams.stdout)
    await streams.close()


async def test_a_command_that_is_not_there_is_the_error_of_exec(running: ShimNode) -> None:
    spec = process("true") | {"args": ["/no/such/command"]}
    for terminal in (False, True):
        with pytest.raises(Internal, match="/no/such/command"):
            await running.tasks.exec(
                "pod", "c", spec | {"terminal": terminal}, stdin=True, stdout=True, stderr=True
            )


async def test_a_container_that_does_not_run_has_no_streams(pod: ShimNode) -> None:
    with pytest.raises(NotFound):
        await attach(pod)
    await pod.tasks.create("pod", "c", pod.bundle("c", "true"), io=TaskIO())
    for _ in range(2):
        with pytest.raises(FailedPrecondition, match="not running"):
            await attach(pod)
        with pytest.raises(FailedPrecondition, match="not running"):
            await execute(pod, "true")
        await pod.tasks.kill("pod", "c", signal.SIGKILL)
        await pod.wait(lambda: bool(pod.exits))


async def test_who_lets_go_of_an_exec_ends_it_with_all_it_started(running: ShimNode) -> None:
    streams = await execute(running, "(sleep 1001 & sleep 1002) & setsid sleep 1003 & echo ready; exec sleep 1004")
    await read_until(streams.stdout, b"ready")
    await processes(running, lambda count: count == 5)
    await streams.close()
    await processes(running, lambda count: count == 1)
    with pytest.raises(FailedPrecondition):
        await streams.wait()


async def processes(node: ShimNode, condition: Callable[[int], bool]) -> None:
    """Wait until the number of processes in the container is right."""
    async with asyncio.timeout(patient(20)):
        while not condition(len(await node.tasks.pids("pod", "c"))):
            await asyncio.sleep(0.01)  # between looks at the condition


async def test_a_killed_exec_tells_its_end(running: ShimNode) -> None:
    streams = await execute(running, "exec sleep 1000", terminal=True)
    await streams.kill()
    assert await streams.wait() == 137
    assert await read_all(streams.stdout) == b""
    await streams.kill()
    await streams.close()


async def test_children_that_hold_the_output_are_waited_for_a_while_only(running: ShimNode) -> None:
    running.tasks._drain = 0.3
    streams = await execute(running, "sleep 1000 & echo out; exit 5")
    assert await streams.wait() == 5
    assert await read_all(streams.stdout) == b"out\n"
    await streams.close()
    assert len(await running.tasks.pids("pod", "c")) == 2
    await running.tasks.kill("pod", "c", signal.SIGKILL, all_processes=True)
    await processes(running, lambda count: count == 0)


async def test_a_caller_that_gives_up_leaves_no_exec(running: ShimNode) -> None:
    for terminal in (False, True):
        opening = asyncio.create_task(execute(running, "exec sleep 1000", terminal=terminal))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    await processes(running, lambda count: count == 1)


async def test_execs_cut_at_any_moment_leave_nothing(running: ShimNode) -> None:
    async def cut(number: int) -> None:
        opening = asyncio.create_task(
            execute(running, "cat & cat; sleep 1000", terminal=bool(number % 2), stderr=bool(number % 3))
        )
        await asyncio.wait([opening], timeout=number / 300)  # the moment is the point
        if not opening.done():
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await opening
            return
        streams = opening.result()
        assert streams.stdin
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(number % 7 / 100):
                await streams.resize(number, number)
                await streams.stdin.write(b"x" * (1 << 20))
        await streams.close()

    for start in range(0, CUTS, 20):
        async with asyncio.TaskGroup() as group:
            for number in range(start, start + 20):
                group.create_task(cut(number % 60))
    await processes(running, lambda count: count == 1)


async def test_execs_in_flight_all_end_with_the_container(running: ShimNode) -> None:
    async def run() -> int | Exception:
        try:
            streams = await execute(running, "exec sleep 1000")
        except (Internal, FailedPrecondition) as exc:
            return exc
        try:
            return await streams.wait()
        finally:
            await streams.close()

    async with asyncio.timeout(patient(60)):
        execs = [asyncio.create_task(run()) for _ in range(EXECS)]
        await asyncio.wait(execs, timeout=0.3)
        await running.tasks.kill("pod", "c", signal.SIGKILL)
        ends = await asyncio.gather(*execs)
        await running.wait(lambda: bool(running.exits))
    assert {end for end in ends if isinstance(end, int)} <= {137}
    assert await running.tasks.pids("pod", "c") == ()


async def test_strangers_are_hung_up_on_though_the_socket_lets_them_in(running: ShimNode) -> None:
    directory = running.state / "sandboxes/pod"
    assert (directory / "streams.sock").stat().st_mode & 0o777 == 0o600
    directory.chmod(0o711)
    (directory / "streams.sock").chmod(0o666)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.settimeout(patient(10))
        with contextlib.chdir(directory):  # the directories above let nobody in
            os.seteuid(65534)
            try:
                stranger.connect("streams.sock")
            finally:
                os.seteuid(0)
        assert await asyncio.to_thread(stranger.recv, 1) == b""


async def test_a_dead_shim_ends_the_exec(pod: ShimNode) -> None:
    await pod.run("c", "exec sleep 1000")
    streams = await execute(pod, "exec sleep 1000")
    sleeping = await pod.tasks.pids("pod", "c")
    os.kill(pod.shim(), signal.SIGKILL)
    with pytest.raises(Unavailable):
        await streams.wait()
    await streams.close()
    await pod.wait(lambda: bool(pod.deaths))
    await wait_gone(sleeping)


async def test_all_clients_see_what_the_log_gets_from_when_they_came(pod: ShimNode) -> None:
    await pod.run("c", "while read line; do echo out $line; echo err $line >&2; done; exit 6", io=TaskIO(stdin=True))
    early = await attach(pod)
    assert early.stdin
    await early.stdin.write(b"1\n")
    assert await read_until(early.stdout, b"1\n") == b"out 1\n"
    late = await attach(pod, stdin=False)
    await early.stdin.write(b"2\n")
    for streams in (early, late):
        assert await read_until(streams.stdout, b"2\n") == b"out 2\n"
    assert await read_all_after_kill(pod, early.stderr) == b"err 1\nerr 2\n"
    assert await read_all(late.stderr) == b"err 2\n"
    for streams in (early, late):
        assert await read_all(streams.stdout) == b""
        await streams.close()
    assert sorted(pod.log("c")) == ["err 1", "err 2", "out 1", "out 2"]


async def read_all_after_kill(node: ShimNode, source: ByteSource | None) -> bytes:
    await node.tasks.kill("pod", "c", signal.SIGKILL)
    return await read_all(source)


async def test_a_client_that_leaves_leaves_the_container(pod: ShimNode) -> None:
    await pod.run("c", "while read line; do echo $line; done", io=TaskIO(stdin=True))
    before = shim_fds(pod)
    for number in range(3):
        streams = await attach(pod)
        assert streams.stdin
        await streams.stdin.write(b"%d\n" % number)
        await read_until(streams.stdout, b"%d\n" % number)
        await streams.stdin.close()
        assert await read_all(streams.stdout) == b""
        with pytest.raises(FailedPrecondition):
            await streams.stdin.write(b"more")
        await streams.close()
    await eventually(lambda: len(shim_fds(pod)) == len(before), "the shim has closed its descriptors")
    assert pod.log("c") == ["0", "1", "2"]
    assert len(await pod.tasks.pids("pod", "c")) == 1


async def test_stdin_once_is_the_first_clients_and_ends_with_it(pod: ShimNode) -> None:
    await pod.run("c", "cat; echo over; exec sleep 1000", io=TaskIO(stdin=True, stdin_once=True))
    first = await attach(pod)
    second = await attach(pod)
    assert first.stdin
    assert second.stdin is None
    await first.stdin.write(b"typed\n")
    await read_until(second.stdout, b"typed\n")
    await first.stdin.close()
    for streams in (first, second):
        await read_until(streams.stdout, b"over\n")
        await streams.close()


async def test_stdin_once_ends_when_its_client_vanishes(pod: ShimNode) -> None:
    await pod.run("c", "cat; exit 7", io=TaskIO(stdin=True, stdin_once=True))
    await (await attach(pod)).close()
    await pod.wait(lambda: bool(pod.exits))
    assert pod.exits[0].exit_code == 7


async def test_a_container_without_stdin_reads_nothing(pod: ShimNode) -> None:
    await pod.run("c", "cat; echo over; exec sleep 1000")
    streams = await attach(pod)
    assert streams.stdin is None
    await streams.close()


async def test_the_console_is_typed_on_and_resized_by_its_clients(pod: ShimNode) -> None:
    command = "trap 'stty size' WINCH; echo ready; while :; do read line && echo got $line; done"
    await pod.run("c", command, io=TaskIO(stdin=True, terminal=True))
    first, second = await attach(pod), await attach(pod, stdin=False)
    assert first.stdin
    assert second.stdin is None
    assert first.stderr is None
    await first.stdin.write(b"hello\n")
    for streams in (first, second):
        await read_until(streams.stdout, b"got hello\r\n")
    await second.resize(99, 33)
    await first.stdin.write(b"again\n")
    await read_until(first.stdout, b"33 99\r\n")
    for streams in (first, second):
        await streams.close()
    again = await attach(pod)
    assert again.stdin
    await again.stdin.write(b"back\n")
    await read_until(again.stdout, b"got back\r\n")
    await again.stdin.close()
    assert await read_all(again.stdout) == b""
    await again.close()
    assert len(await pod.tasks.pids("pod", "c")) == 1


async def test_a_client_that_does_not_read_holds_up_neither_container_nor_log_nor_others(pod: ShimNode) -> None:
    command = "read line; for i in 0 1 2 3 4 5 6 7; do echo $i; cat /bin/busybox; done; echo end; exec sleep 1000"
    await pod.run("c", command, io=TaskIO(stdin=True))
    slow, quick = await attach(pod, stderr=False), await attach(pod, stderr=False)
    assert slow.stdin
    before = rss(pod.shim())
    await slow.stdin.write(b"go\n")
    expected = b"".join(b"%d\n" % i + Path("/bin/busybox").read_bytes() for i in range(8)) + b"end\n"
    assert await read_exactly(quick.stdout, len(expected)) == expected
    assert rss(pod.shim()) - before < 8 << 20
    assert await read_exactly(slow.stdout, len(expected)) == expected
    for streams in (slow, quick):
        await streams.close()
    assert raw_log(pod) == expected


async def test_attaches_cut_at_any_moment_leave_nothing(pod: ShimNode) -> None:
    await pod.run("c", "while read line; do cat /bin/busybox; done", io=TaskIO(stdin=True))
    ours, shims = len(fds(os.getpid())), len(shim_fds(pod))
    witness = await attach(pod, stderr=False)
    assert witness.stdin

    async def cut(number: int) -> None:
        opening = asyncio.create_task(attach(pod, stdin=bool(number % 2), stderr=bool(number % 3)))
        await asyncio.wait([opening], timeout=number / 10_000)  # the moment is the point
        if not opening.done():
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await opening
            return
        streams = opening.result()
        assert streams.stdout
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(number % 7 / 1000):
                await streams.stdout.read(CHUNK)
        await streams.close()

    size = os.stat("/bin/busybox").st_size
    for _ in range(0, CUTS, 20):
        await witness.stdin.write(b"go\n")
        await asyncio.gather(*(cut(number) for number in range(20)))
        await read_exactly(witness.stdout, size)
    await witness.close()
    await eventually(lambda: len(shim_fds(pod)) <= shims, "the shim has closed its descriptors")
    assert len(fds(os.getpid())) <= ours


async def test_a_client_that_falls_too_far_behind_is_dropped_and_told(pod: ShimNode) -> None:
    bundle = pod.bundle("c", "read line; dd if=/zero bs=1024k count=80 2>/dev/null; echo done >&2; exec sleep 1000")
    os.mknod(f"{bundle}/rootfs/zero", 0o666 | 0o020000, os.makedev(1, 5))
    await pod.tasks.create("pod", "c", bundle, io=TaskIO(stdin=True))
    await pod.tasks.start("pod", "c")
    streams, other = await attach(pod), await attach(pod, stdout=False)
    assert other.stdin
    await other.stdin.write(b"go\n")
    await read_until(other.stderr, b"done\n")
    with pytest.raises(ResourceExhausted, match="too slowly"):
        await read_all(streams.stdout)
    await streams.close()
    await other.close()


async def test_a_successor_of_the_daemon_attaches_and_execs(
    tmp_path: Path, zygote: ZygoteProcess, _cgroups: None
) -> None:
    async with daemon(tmp_path, zygote) as first:
        await first.sandboxes.start(POD)
        await first.run("c", "while read line; do echo $line; done", io=TaskIO(stdin=True))
        lost = await attach(first)
        exec_ = await execute(first, "exec sleep 1000")
        for streams in (lost, exec_):
            await streams.close()  # as the kernel does for a daemon that is killed
    async with daemon(tmp_path, zygote) as second:
        try:
            await second.tasks.adopt("pod")
            streams = await attach(second)
            assert streams.stdin
            await streams.stdin.write(b"hello\n")
            await read_until(streams.stdout, b"hello\n")
            await streams.close()
            await processes(second, lambda count: count == 1)
            exec_ = await execute(second, "exit 9")
            assert await exec_.wait() == 9
            await exec_.close()
        finally:
            await second.sandboxes.remove("pod")
            remove_cgroups()


def rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def read_exactly(source: ByteSource | None, size: int) -> bytes:
    assert source
    data = bytearray()
    async with asyncio.timeout(patient(30)):
        while len(data) < size:
            piece = await source.read(CHUNK)
            assert piece
            data += piece
    return bytes(data)


def raw_log(node: ShimNode) -> bytes:
    """What the container wrote, put together from its log's entries."""
    data = []
    for entry in (node.state / "containers/c/log").read_bytes().split(b"\n")[:-1]:
        _, _, kind, line = entry.split(b" ", 3)
        data += [line, b"\n"] if kind == b"F" else [line]
    return b"".join(data)
