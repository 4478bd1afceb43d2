"""The daemon's side and the real shim together: zygote, shim, crun, busybox."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from core.errdefs import CrispError, DeadlineExceeded, FailedPrecondition, Internal, NotFound, Unavailable
from core.linux.cgroup import CgroupLayout, CgroupMode
from core.linux.mount import MS_BIND, mount, umount2
from core.sandbox.controller import NamespaceMode, SandboxSpec
from core.tasks.tasks import TaskIO, TaskState
from core.zygote.process import ZygoteProcess
from rig.bundles import process
from rig.patience import patient
from rig.shim_node import POD, ShimNode, daemon, remove_cgroups, wait_gone

pytestmark = pytest.mark.root


async def test_a_task_lives_from_create_to_delete(node: ShimNode) -> None:
    sandbox = await node.sandboxes.start(POD)
    assert await node.sandboxes.alive("pod")
    bundle = node.bundle("c", "hostname; echo oops >&2; exit 7", namespaces=sandbox.namespaces)
    pid = await node.tasks.create("pod", "c", bundle, io=TaskIO(log_path=f"{bundle}/log"))
    assert (await node.tasks.status("pod", "c")).state is TaskState.CREATED
    assert await node.tasks.pids("pod", "c") == (pid,)
    await node.tasks.start("pod", "c")
    await node.wait(lambda: bool(node.exits))
    status = await node.tasks.status("pod", "c")
    assert status.state is TaskState.STOPPED
    assert status.exit == node.exits[0]
    assert (status.exit.pid, status.exit.exit_code, status.exit.oom_killed) == (pid, 7, False)
    assert sorted(node.log("c")) == ["oops", "podhost"]
    assert await node.tasks.delete("pod", "c") == node.exits[0]
    assert await node.tasks.delete("pod", "c") is None
    with pytest.raises(NotFound):
        await node.tasks.status("pod", "c")
    assert len(node.exits) == 1


async def test_after_its_exit_the_runtime_keeps_nothing_of_a_container(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    await node.run("c", "exit 3")
    await node.wait(lambda: bool(node.exits))
    async with asyncio.timeout(patient(20)):
        while os.listdir(node.state / "crun"):
            await asyncio.sleep(0.01)  # between looks at the condition
    assert (await node.tasks.status("pod", "c")).exit == node.exits[0]
    assert await node.tasks.delete("pod", "c") == node.exits[0]


async def test_what_the_runtime_says_is_the_error(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    bundle = node.bundle("c", "true")
    os.unlink(f"{bundle}/rootfs/bin/sh")
    with pytest.raises(Internal, match="/bin/sh"):
        await node.tasks.create("pod", "c", bundle, io=TaskIO())
        await node.tasks.start("pod", "c")


async def test_a_running_task_can_be_killed_and_not_deleted(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    await node.run("c", "exec sleep 1000")
    with pytest.raises(FailedPrecondition):
        await node.tasks.delete("pod", "c")
    await node.tasks.kill("pod", "c", signal.SIGKILL)
    await node.wait(lambda: bool(node.exits))
    assert node.exits[0].exit_code == 137
    await node.tasks.kill("pod", "c", signal.SIGKILL)
    await node.tasks.delete("pod", "c")
    await node.tasks.kill("pod", "c", signal.SIGKILL)


async def test_a_created_task_is_deleted_without_an_exit(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    bundle = node.bundle("c", "true")
    await node.tasks.create("pod", "c", bundle, io=TaskIO())
    assert await node.tasks.delete("pod", "c") is not None
    await node.tasks.create("pod", "c", bundle, io=TaskIO())
    await node.tasks.start("pod", "c")
    await node.wait(lambda: bool(node.exits))
    assert [exit_.exit_code for exit_ in node.exits] == [0]


async def test_exec_collects_both_streams_and_the_code(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    await node.run("c", "exec sleep 1000")
    result = await node.tasks.exec_sync(
        "pod", "c", process("echo out; echo err >&2; exit 3"), timeout=patient(10), limit=1 << 20
    )
    assert (result.stdout, result.stderr, result.exit_code) == (b"out\n", b"err\n", 3)


async def test_exec_output_is_cut_at_the_limit(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    await node.run("c", "exec sleep 1000")
    command = "dd if=/dev/zero bs=1024 count=9000 2>/dev/null"
    os.mknod(f"{node.state}/containers/c/rootfs/zero", 0o666 | 0o020000, os.makedev(1, 5))
    result = await node.tasks.exec_sync(
        "pod", "c", process(command.replace("/dev/zero", "/zero")), timeout=patient(20), limit=8 << 20
    )
    assert (len(result.stdout), result.exit_code) == (8 << 20, 0)


async def test_exec_is_killed_at_its_timeout(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    await node.run("c", "exec sleep 1000")
    with pytest.raises(DeadlineExceeded):
        await node.tasks.exec_sync("pod", "c", process("sleep 1000"), timeout=0.3, limit=100)
    assert len(await node.tasks.pids("pod", "c")) == 1


async def test_logs_can_be_rotated(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    await node.run("c", "echo one; read line; exec sleep 1000")
    log = node.state / "containers" / "c" / "log"
    log.rename(f"{log}.1")
    await node.tasks.reopen_log("pod", "c")
    assert log.exists()


async def test_resources_can_be_updated(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    pid = await node.run("c", "exec sleep 1000")
    await node.tasks.update("pod", "c", {"pids": {"limit": 17}})
    assert Path(CgroupLayout.read().of_process(pid)["pids"], "pids.max").read_text() == "17\n"


async def test_an_oom_kill_is_told_with_the_exit(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    memory = {"limit": 16 << 20}
    if CgroupLayout.read().mode is CgroupMode.UNIFIED:
        memory["swap"] = memory["limit"]  # a node with swap would take long to fill it
    await node.run("c", "x=0123456789abcdef; while :; do x=$x$x; done", resources={"memory": memory})
    await node.wait(lambda: bool(node.exits))
    assert (node.exits[0].exit_code, node.exits[0].oom_killed) == (137, True)


async def test_a_pod_with_its_own_pid_namespace_has_an_init(node: ShimNode) -> None:
    sandbox = await node.sandboxes.start(
        SandboxSpec(id="pod", runtime_handler="", hostname="podhost", pid=NamespaceMode.POD)
    )
    pid = await node.run("c", "exec sleep 1000", namespaces=sandbox.namespaces)
    assert os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{sandbox.pid}/ns/pid")
    await node.sandboxes.remove("pod")
    await wait_gone([sandbox.pid])
    await wait_gone([pid])


async def test_a_new_daemon_adopts_shims_and_hears_of_exits_meanwhile(tmp_path: Path, zygote: ZygoteProcess) -> None:
    async with daemon(tmp_path, zygote) as first:
        sandbox = await first.sandboxes.start(POD)
        await first.run("runs", "exec sleep 1000")
        ends = await first.run("ends", "exec sleep 1000")
    pidfd = os.pidfd_open(ends)
    os.kill(ends, signal.SIGKILL)
    await wait_readable(pidfd)
    async with daemon(tmp_path, zygote) as second:
        try:
            with pytest.raises(Unavailable):
                await second.tasks.status("pod", "runs")
            assert await second.tasks.adopt("pod")
            await second.wait(lambda: bool(second.exits))
            assert [(exit_.container_id, exit_.exit_code) for exit_ in second.exits] == [("ends", 137)]
            assert (await second.tasks.status("pod", "runs")).state is TaskState.RUNNING
            assert await second.sandboxes.alive("pod")
            assert await second.sandboxes.start(POD) == sandbox
            await second.tasks.kill("pod", "runs", signal.SIGTERM, all_processes=True)
            await second.tasks.kill("pod", "runs", signal.SIGKILL)
            await second.wait(lambda: len(second.exits) == 2)
        finally:
            await second.sandboxes.remove("pod")
            remove_cgroups()


async def test_a_killed_shim_takes_its_containers_with_it(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    pid = await node.run("c", "exec sleep 1000")
    shim = node.state.joinpath("sandboxes/pod/shim.json").read_text()
    os.kill(int(shim.split('"pid": ')[1].split(",")[0]), signal.SIGKILL)
    await node.wait(lambda: bool(node.deaths))
    await wait_gone([pid])
    assert not await node.sandboxes.alive("pod")
    assert not await node.tasks.adopt("pod")
    await node.sandboxes.stop("pod")
    assert await node.tasks.delete("pod", "c") is None
    await node.sandboxes.remove("pod")
    assert node.manager.ids() == []
    assert not os.listdir(node.state / "crun")


async def test_a_shim_minds_sigterm_only_when_the_node_goes_down_and_ends_after_its_containers(
    node: ShimNode, tmp_path: Path
) -> None:
    sandbox = await node.sandboxes.start(SandboxSpec(id="pod", runtime_handler="", pid=NamespaceMode.POD))
    shim, name = node.shim(), tmp_path / "comm"
    first = await node.run("first", "exec sleep 1000")
    os.kill(shim, signal.SIGTERM)
    os.kill(first, signal.SIGKILL)
    await node.wait(lambda: bool(node.exits))
    second = await node.run("second", "exec sleep 1000")
    name.write_text("systemd-shutdow\n")
    mount(str(name), "/proc/1/comm", "", MS_BIND)
    try:
        os.kill(shim, signal.SIGTERM)
        assert (await node.tasks.status("pod", "second")).state is TaskState.RUNNING
        os.kill(second, signal.SIGKILL)
        await node.wait(lambda: bool(node.deaths))
    finally:
        umount2("/proc/1/comm", 0)
    assert [exit_.container_id for exit_ in node.exits] == ["first", "second"]
    await wait_gone([shim, sandbox.pid])


async def test_a_killed_shim_takes_the_pods_init_with_it(node: ShimNode) -> None:
    sandbox = await node.sandboxes.start(SandboxSpec(id="pod", runtime_handler="", pid=NamespaceMode.POD))
    shim = node.state.joinpath("sandboxes/pod/shim.json").read_text()
    os.kill(int(shim.split('"pid": ')[1].split(",")[0]), signal.SIGKILL)
    await node.wait(lambda: bool(node.deaths))
    pidfd = None
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(sandbox.pid)
        await wait_readable(pidfd)
    await wait_gone([sandbox.pid])


async def test_a_sandbox_that_cannot_be_made_leaves_nothing(node: ShimNode) -> None:
    with pytest.raises(CrispError, match=r"net\.no\.such"):
        await node.sandboxes.start(
            SandboxSpec(id="pod", runtime_handler="", hostname="h", sysctls={"net.no.such": "1"})
        )
    assert node.manager.ids() == []


async def test_stop_unpins_and_remove_is_idempotent(node: ShimNode) -> None:
    sandbox = await node.sandboxes.start(POD)
    assert os.stat(sandbox.netns).st_dev != os.stat(node.state).st_dev
    await node.sandboxes.stop("pod")
    assert not os.path.exists(sandbox.netns)
    assert not await node.sandboxes.alive("pod")
    await node.sandboxes.stop("pod")
    for _ in range(2):
        await node.sandboxes.remove("pod")
    assert await node.sandboxes.list() == []
    assert node.deaths == []


async def wait_readable(fd: int) -> None:
    """Wait until the process behind pidfd `fd` has ended; closes it."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ended.set)
    await ended.wait()
    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)
