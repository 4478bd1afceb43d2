"""Shims that sleep while nothing happens, and what wakes them: nothing is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from core.errdefs import CrispError
from core.failpoint import ENVIRONMENT
from core.sandbox.controller import NamespaceMode, SandboxSpec
from core.tasks.tasks import TaskIO, TaskState
from core.zygote.process import ZygoteProcess
from rig.bundles import process
from rig.patience import patient
from rig.shim_node import POD, ShimNode, alive, daemon, remove_cgroups, wait_gone

pytestmark = pytest.mark.root

QUIET = 0.05
LINE = "mkfifo line; exec 3<>line;"
ECHO = f"""{LINE} while read word <&3; do printf %s $word; case $word in nl) echo;; end.) exit 7;; esac; done"""
"""A container that writes each word that it gets, ends the line at "nl" and itself at "end."."""


@pytest.fixture
def armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that arms failpoints of the shims."""
    monkeypatch.setenv(ENVIRONMENT, f"@{tmp_path}/armed")
    return tmp_path / "armed"


@pytest.fixture
async def pod(tmp_path: Path, armed: Path, zygote: ZygoteProcess, _cgroups: None) -> AsyncIterator[ShimNode]:
    async with daemon(tmp_path / "state", zygote, QUIET) as node:
        try:
            await node.sandboxes.start(POD)
            yield node
        finally:
            for sandbox_id in node.manager.ids():
                await node.sandboxes.remove(sandbox_id)
            remove_cgroups()


async def say(node: ShimNode, *words: str) -> None:
    """To the container "c" that echoes."""
    fifo = node.state / "containers/c/rootfs/line"
    fd = -1

    def listens() -> bool:
        nonlocal fd
        with contextlib.suppress(OSError):
            fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        return fd >= 0

    await wait_until(listens)
    os.write(fd, "".join(f"{word}\n" for word in words).encode())
    os.close(fd)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(patient(20)):
        while not condition():
            await asyncio.sleep(0.01)  # between looks at the condition


async def sh(node: ShimNode, command: str) -> bytes:
    return (await node.tasks.exec_sync("pod", "c", process(command), timeout=patient(10), limit=1000)).stdout


def logged(node: ShimNode) -> list[str]:
    """Tag and content of each entry."""
    entries = (node.state / "containers/c/log").read_text().splitlines()
    return [entry.split(" ", 2)[2] for entry in entries]


async def test_a_request_wakes_it_and_finds_all_as_it_was(pod: ShimNode) -> None:
    pid = await pod.run("c", "exec sleep 1000")
    keeper = await pod.wait_asleep()
    assert await sh(pod, "echo out") == b"out\n"
    assert pod.shim_processes()[0] == keeper
    await pod.wait_asleep()
    status = await pod.tasks.status("pod", "c")
    assert (status.state, status.pid) == (TaskState.RUNNING, pid)
    await pod.wait_asleep()
    assert await pod.tasks.pids("pod", "c") == (pid,)
    assert await pod.sandboxes.alive("pod")


async def test_a_line_that_is_not_ended_yet_survives_it(pod: ShimNode) -> None:
    await pod.run("c", ECHO)
    await say(pod, "be", "gin")
    await pod.wait_asleep()
    assert logged(pod) == []
    await say(pod, "ning", "nl")
    await wait_until(lambda: logged(pod) == ["F beginningnl"])
    await say(pod, "rest")
    await pod.wait_asleep()
    await say(pod, "end.")
    await pod.wait(lambda: bool(pod.exits))
    assert logged(pod) == ["F beginningnl", "P restend."]
    assert (pod.exits[0].exit_code, pod.exits[0].oom_killed) == (7, False)
    assert pod.manager.logged().lines == 2


async def test_an_exit_wakes_it(pod: ShimNode) -> None:
    await pod.run("c", f"{LINE} read word <&3; exit 7")
    other = await pod.run("other", "exec sleep 1000")
    await pod.wait_asleep()
    await say(pod, "word")
    os.kill(other, signal.SIGKILL)
    await pod.wait(lambda: len(pod.exits) == 2)
    assert {exit_.container_id: exit_.exit_code for exit_ in pod.exits} == {"c": 7, "other": 137}
    await pod.wait_asleep()
    assert await pod.tasks.delete("pod", "c") in pod.exits
    await pod.wait_asleep()
    assert await pod.tasks.delete("pod", "c") is None


async def test_an_oom_kill_while_it_sleeps_is_told_with_the_exit(pod: ShimNode) -> None:
    script = f"{LINE} read word <&3; x=0123456789abcdef; while :; do x=$x$x; done"
    await pod.run("c", script, resources={"memory": {"limit": 16 << 20}})
    await pod.wait_asleep()
    await say(pod, "go")
    await pod.wait(lambda: bool(pod.exits))
    assert (pod.exits[0].exit_code, pod.exits[0].oom_killed) == (137, True)


@pytest.mark.parametrize("happens", ["output", "exit", "request"])
async def test_what_happens_as_it_falls_asleep_is_the_next_workers(pod: ShimNode, armed: Path, happens: str) -> None:
    pid = await pod.run("c", ECHO)
    armed.write_text("shim.sleep.packed=sleep(200)")
    await wait_packed(pod)
    match happens:
        case "output":
            words = [f"w{number}" for number in range(5)]
            for word in words:
                await wait_packed(pod)
                await say(pod, word, "nl")
                await wait_until(lambda: logged(pod)[-1:] == [f"F {word}nl"])  # noqa: B023
            assert logged(pod) == [f"F {word}nl" for word in words]
        case "exit":
            os.kill(pid, signal.SIGKILL)
            await pod.wait(lambda: bool(pod.exits))
            assert [exit_.exit_code for exit_ in pod.exits] == [137]
        case "request":
            assert await sh(pod, "echo out") == b"out\n"


async def wait_packed(node: ShimNode) -> None:
    """Wait until a worker has done all but to hand over; one that has done that unseen is followed by another."""
    async with asyncio.timeout(patient(20)):
        while not is_packed(node):
            if len(node.shim_processes()) == 1:
                await node.tasks.status("pod", "c")
            await asyncio.sleep(0.01)  # between looks at the condition


def is_packed(node: ShimNode) -> bool:
    for worker in node.shim_processes()[1:]:
        with contextlib.suppress(OSError):
            links = [os.readlink(path) for path in Path(f"/proc/{worker}/fd").iterdir()]
            return any(link.startswith("/memfd:crisp-shim") for link in links)
    return False


async def test_a_log_is_rotated_and_input_arrives_after_it(pod: ShimNode) -> None:
    await pod.run("c", "while read word; do echo $word; done", io=TaskIO(stdin=True))
    await pod.wait_asleep()
    log = pod.state / "containers/c/log"
    log.rename(f"{log}.1")
    await pod.tasks.reopen_log("pod", "c")
    await pod.wait_asleep()
    streams = await pod.tasks.attach("pod", "c", stdin=True, stdout=True, stderr=True)
    try:
        await streams.stdin.write(b"typed\n")
        assert await streams.stdout.read(100) == b"typed\n"
    finally:
        await streams.close()
    await pod.wait_asleep()
    assert pod.log("c") == ["typed"]


async def test_a_terminal_survives_it(pod: ShimNode) -> None:
    await pod.run("c", "stty -echo; while read word; do echo got $word; done", io=TaskIO(stdin=True, terminal=True))
    await pod.wait_asleep()
    streams = await pod.tasks.attach("pod", "c", stdin=True, stdout=True, stderr=True)
    try:
        await streams.stdin.write(b"this\n")
        await wait_until(lambda: pod.log("c") == ["got this\r"] or pod.log("c") == ["got this"])
    finally:
        await streams.close()
    await pod.tasks.kill("pod", "c", signal.SIGKILL)
    await pod.wait(lambda: bool(pod.exits))
    assert pod.exits[0].exit_code == 137


async def test_an_exec_of_a_woken_one_inherits_nothing(pod: ShimNode) -> None:
    await pod.run("c", "exec sleep 1000", io=TaskIO(stdin=True))
    await pod.wait_asleep()
    assert await sh(pod, "ls /proc/self/fd || echo /proc/self/fd/*") in (b"0\n1\n2\n3\n", b"/proc/self/fd/*\n")
    worker = pod.shim_processes()[1]
    for link in Path(f"/proc/{worker}/fdinfo").iterdir():
        if int(link.name) > 2:
            flags = int(link.read_text().split("flags:")[1].split()[0], 8)
            assert flags & os.O_CLOEXEC, os.readlink(f"/proc/{worker}/fd/{link.name}")


@pytest.mark.parametrize("which", ["sleeping", "keeper", "worker"])
async def test_its_death_ends_the_containers_whichever_process_dies(pod: ShimNode, which: str) -> None:
    pid = await pod.run("c", "exec sleep 1000")
    await pod.wait_asleep()
    if which != "sleeping":
        await sh(pod, "true")
    processes = pod.shim_processes()
    os.kill(processes[-1] if which == "worker" else processes[0], signal.SIGKILL)
    await pod.wait(lambda: bool(pod.deaths))
    await wait_gone([pid, *processes])
    with pytest.raises(CrispError):
        await pod.tasks.status("pod", "c")


async def test_a_new_daemon_adopts_one_that_sleeps(tmp_path: Path, zygote: ZygoteProcess, _cgroups: None) -> None:
    async with daemon(tmp_path, zygote, QUIET) as first:
        await first.sandboxes.start(POD)
        await first.run("c", "exec sleep 1000")
        await first.wait_asleep()
    async with daemon(tmp_path, zygote, QUIET) as second:
        try:
            assert await second.tasks.adopt("pod")
            assert (await second.tasks.status("pod", "c")).state is TaskState.RUNNING
        finally:
            await second.sandboxes.remove("pod")
            remove_cgroups()


async def test_the_init_of_a_pod_is_still_its_own(tmp_path: Path, zygote: ZygoteProcess, _cgroups: None) -> None:
    async with daemon(tmp_path, zygote, QUIET) as node:
        spec = SandboxSpec(id="pod", runtime_handler="", hostname="podhost", pid=NamespaceMode.POD)
        sandbox = await node.sandboxes.start(spec)
        await node.wait_asleep()
        assert alive(sandbox.pid)
        assert (await node.sandboxes.start(spec)).pid == sandbox.pid
        await node.wait_asleep()
        await node.sandboxes.remove("pod")
        await wait_gone([sandbox.pid])
        assert node.deaths == []
