import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from core.api.crisp_shim_pb2 import ExecExit, ExecOutput, TaskOptions
from core.errdefs import DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, NotFound, Unavailable
from core.shim.record import ExitRecord
from core.shims.bundle import Runtime
from core.shims.manager import ShimManager
from core.tasks.service import RESOURCES, ShimTasks
from core.tasks.tasks import TaskExit, TaskIO, TaskState, TaskStatus
from core.types import Mount
from rig.fake_shim import FakeShim, FakeZygote, exit_event

RUNTIME = Runtime(binary="/bin/true", root="/run/crun")


class Daemon:
    def __init__(self, state: Path, zygote: FakeZygote, group: asyncio.TaskGroup) -> None:
        self.manager = ShimManager(str(state), zygote, group)
        self.tasks = ShimTasks(self.manager)
        self.exits: list[TaskExit] = []
        self.died = asyncio.Event()
        self.tasks.subscribe(self.exits.append)
        self.manager.subscribe(lambda _: self.died.set())


@pytest.fixture
async def zygote() -> AsyncIterator[FakeZygote]:
    async with FakeZygote() as zygote:
        yield zygote


@pytest.fixture
async def daemon(tmp_path: Path, zygote: FakeZygote) -> AsyncIterator[Daemon]:
    async with asyncio.TaskGroup() as group:
        daemon = Daemon(tmp_path, zygote, group)
        await daemon.manager.start("pod", RUNTIME)
        async with daemon.tasks.listening():
            yield daemon
        daemon.manager.leave()


@pytest.fixture
def successor(tmp_path: Path, zygote: FakeZygote) -> Callable[[asyncio.TaskGroup], Daemon]:
    return lambda group: Daemon(tmp_path, zygote, group)


@pytest.fixture
def shim(daemon: Daemon, zygote: FakeZygote) -> FakeShim:
    return zygote.shims["pod"]


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    (tmp_path / "bundle").mkdir()
    return str(tmp_path / "bundle")


async def test_create_hands_over_log_runtime_and_mounts(daemon: Daemon, shim: FakeShim, bundle: str) -> None:
    io = TaskIO(log_path="/var/log/c", stdin=True, stdin_once=True, terminal=True)
    rootfs = [Mount(type="overlay", source="overlay", options=("ro",))]
    assert await daemon.tasks.create("pod", "c", bundle, rootfs=rootfs, io=io) == 1001
    request = shim.tasks["c"].request
    options = TaskOptions()
    assert request.options.Unpack(options)
    assert options == TaskOptions(
        runtime="/bin/true", runtime_root="/run/crun", log_path="/var/log/c", stdin=True, stdin_once=True
    )
    assert (request.bundle, request.terminal, list(request.rootfs[0].options)) == (bundle, True, ["ro"])
    assert daemon.manager.directory("pod").containers() == {"c": bundle}


async def test_a_failed_create_leaves_no_trace(daemon: Daemon, bundle: str) -> None:
    with pytest.raises(InvalidArgument, match="no such file"):
        await daemon.tasks.create("pod", "bad", bundle, io=TaskIO())
    assert daemon.manager.directory("pod").containers() == {}


async def test_status_follows_the_task(daemon: Daemon, shim: FakeShim, bundle: str) -> None:
    with pytest.raises(NotFound):
        await daemon.tasks.status("pod", "c")
    await daemon.tasks.create("pod", "c", bundle, io=TaskIO())
    assert await daemon.tasks.status("pod", "c") == TaskStatus(state=TaskState.CREATED, pid=1001)
    await daemon.tasks.start("pod", "c")
    assert (await daemon.tasks.status("pod", "c")).state is TaskState.RUNNING
    assert await daemon.tasks.pids("pod", "c") == (1001,)
    record = await shim.exit("c", 137, oom=True)
    status = await daemon.tasks.status("pod", "c")
    assert status.exit == daemon.exits[0]
    assert (status.exit.exited_at, status.exit.oom_killed) == (record.exited_at, True)


async def test_an_exit_is_told_once(daemon: Daemon, shim: FakeShim, bundle: str) -> None:
    await daemon.tasks.create("pod", "c", bundle, io=TaskIO())
    await daemon.tasks.start("pod", "c")
    record = await shim.exit("c", 3)
    await shim.publish("/tasks/exit", exit_event("c", "c", record))
    assert await daemon.tasks.adopt("pod")
    assert [(exit_.pid, exit_.exit_code, exit_.oom_killed) for exit_ in daemon.exits] == [(1001, 3, False)]


async def test_exits_of_execs_and_of_earlier_tasks_are_not_told(daemon: Daemon, shim: FakeShim, bundle: str) -> None:
    await daemon.tasks.create("pod", "c", bundle, io=TaskIO())
    await shim.publish("/tasks/exit", exit_event("c", "exec", ExitRecord.now(1001, 0)))
    await shim.publish("/tasks/exit", exit_event("c", "c", ExitRecord.now(999, 0)))
    await shim.publish("/tasks/exit", exit_event("other", "other", ExitRecord.now(1001, 0)))
    assert daemon.exits == []


async def test_an_oom_is_known_from_its_event_or_from_the_record(daemon: Daemon, shim: FakeShim, bundle: str) -> None:
    await daemon.tasks.create("pod", "c", bundle, io=TaskIO())
    await shim.exit("c", 137, oom=True, events=("exit",))
    assert [exit_.oom_killed for exit_ in daemon.exits] == [True]


async def test_an_exit_that_delete_returns_is_not_told(daemon: Daemon, shim: FakeShim, bundle: str) -> None:
    await daemon.tasks.create("pod", "c", bundle, io=TaskIO())
    exit_ = await daemon.tasks.delete("pod", "c")
    assert exit_ is not None
    assert (exit_.exit_code, daemon.exits) == (137, [])
    assert daemon.manager.directory("pod").containers() == {}
    assert await daemon.tasks.delete("pod", "c") is None


async def test_a_running_task_is_not_deleted_and_its_exit_is_told(daemon: Daemon, shim: FakeShim, bundle: str) -> None:
    await daemon.tasks.create("pod", "c", bundle, io=TaskIO())
    await daemon.tasks.start("pod", "c")
    with pytest.raises(FailedPrecondition):
        await daemon.tasks.delete("pod", "c")
    await shim.exit("c", 0)
    assert len(daemon.exits) == 1


async def test_kill_of_what_is_gone_succeeds(daemon: Daemon, shim: FakeShim, bundle: str) -> None:
    await daemon.tasks.kill("pod", "c", signal.SIGTERM)
    await daemon.tasks.create("pod", "c", bundle, io=TaskIO())
    await daemon.tasks.kill("pod", "c", signal.SIGKILL, all_processes=True)
    assert shim.calls == ["kill 9 all"]


async def test_update_and_reopen_reach_the_shim(daemon: Daemon, shim: FakeShim, bundle: str) -> None:
    await daemon.tasks.create("pod", "c", bundle, io=TaskIO())
    await daemon.tasks.update("pod", "c", {"pids": {"limit": 5}})
    await daemon.tasks.reopen_log("pod", "c")
    assert shim.calls == ['update {"pids": {"limit": 5}}', "reopen c"]
    assert RESOURCES.endswith("LinuxResources")


async def test_exec_output_is_put_together(daemon: Daemon, shim: FakeShim) -> None:
    shim.outputs = [ExecOutput(stdout=b"a"), ExecOutput(stderr=b"e"), ExecOutput(stdout=b"b")]
    shim.outputs.append(ExecOutput(exit=ExecExit(code=4)))
    result = await daemon.tasks.exec_sync("pod", "c", {}, timeout=0, limit=10)
    assert (result.stdout, result.stderr, result.exit_code) == (b"ab", b"e", 4)


async def test_an_exec_out_of_time_is_a_deadline(daemon: Daemon, shim: FakeShim) -> None:
    shim.outputs = [ExecOutput(stdout=b"a"), ExecOutput(exit=ExecExit(timed_out=True))]
    with pytest.raises(DeadlineExceeded):
        await daemon.tasks.exec_sync("pod", "c", {}, timeout=1, limit=10)


async def test_an_exec_without_an_exit_is_an_error(daemon: Daemon) -> None:
    with pytest.raises(Internal):
        await daemon.tasks.exec_sync("pod", "c", {}, timeout=0, limit=10)


async def test_exits_while_no_daemon_ran_are_told_at_adoption(
    daemon: Daemon, shim: FakeShim, bundle: str, successor: Callable[[asyncio.TaskGroup], Daemon]
) -> None:
    await daemon.tasks.create("pod", "c", bundle, io=TaskIO())
    await shim.exit("c", 137, oom=True, events=())
    daemon.manager.leave()
    async with asyncio.TaskGroup() as group:
        second = successor(group)
        with pytest.raises(Unavailable):
            await second.tasks.status("pod", "c")
        assert await second.tasks.adopt("pod")
        assert [(exit_.exit_code, exit_.oom_killed) for exit_ in second.exits] == [(137, True)]
        second.manager.leave()


async def test_a_shim_that_does_not_answer_is_unavailable(daemon: Daemon, shim: FakeShim) -> None:
    shim.answers = False
    with pytest.raises(Unavailable, match="try again"):
        await daemon.tasks.adopt("pod")


async def test_records_of_a_dead_shim_are_told_and_its_tasks_are_gone(
    daemon: Daemon, shim: FakeShim, bundle: str, tmp_path: Path
) -> None:
    await daemon.tasks.create("pod", "ended", bundle, io=TaskIO())
    (tmp_path / "other").mkdir()
    await daemon.tasks.create("pod", "killed", str(tmp_path / "other"), io=TaskIO())
    await shim.exit("ended", 5, events=())
    shim.body.kill()
    await daemon.died.wait()
    assert [(exit_.container_id, exit_.exit_code) for exit_ in daemon.exits] == [("ended", 5)]
    assert not await daemon.tasks.adopt("pod")
    assert await daemon.tasks.delete("pod", "killed") is None
    assert list(daemon.manager.directory("pod").containers()) == ["ended"]


@pytest.mark.parametrize("record", ["", "[]", '{"pid": 1}', '{"pid": 1, "unknown": 2}'])
async def test_a_record_that_makes_no_sense_is_no_record(
    daemon: Daemon, shim: FakeShim, bundle: str, record: str
) -> None:
    await daemon.tasks.create("pod", "c", bundle, io=TaskIO())
    await shim.exit("c", 5, events=())
    Path(bundle, "exit.json").write_text(record)
    status = await daemon.tasks.status("pod", "c")
    assert status.exit is not None
    assert status.exit.exit_code == 5
