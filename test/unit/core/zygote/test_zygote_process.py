import asyncio
import os
import select
import signal
import socket
import sys

import pytest

from core.errdefs import DeadlineExceeded, Internal, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from core.failpoint import ENVIRONMENT
from core.zygote.process import ZygoteProcess

HERE = os.path.dirname(__file__)
JOBS = {name: f"zygote_jobs:{name}" for name in ("echo", "read", "fail", "die", "hang", "linger", "warmed")}
JOBS["absent"] = "core.no_such_module:run"
LONG = 60.0  # seconds; a deadline that is not the test's subject


@pytest.fixture
async def zygote(monkeypatch):
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(sys, "path", [*sys.path, HERE])  # a zygote takes our path
    process = ZygoteProcess(jobs=JOBS)
    await process.start()
    yield process
    await process.stop()
    assert set(os.listdir("/proc/self/fd")) == before


async def gone(pid: int) -> None:
    """Wait until process `pid` has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await asyncio.get_running_loop().run_in_executor(None, select.select, [pidfd], [], [], LONG)
    finally:
        os.close(pidfd)


async def test_a_job_gets_its_arguments_and_returns_its_result(zygote):
    args = {"text": "ä\n", "big": "x" * 1_000_000}
    result = await zygote.run("echo", args, deadline=LONG)
    assert result["args"] == args
    assert result["pid"] not in {os.getpid(), zygote.pid}


async def test_progress_comes_in_order_before_the_result(zygote):
    seen: list[int] = []
    await zygote.run("echo", {"progress": 3}, deadline=LONG, progress=lambda message: seen.append(message["number"]))
    assert seen == [0, 1, 2]


async def test_a_child_has_no_descriptors_but_its_own(zygote):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        await zygote.detach("linger", {}, fds=[theirs.fileno()])
        result = await zygote.run("echo", {}, fds=[theirs.fileno()], deadline=LONG)
    assert len(result["open"]) == 6  # stdio, its channel, what it was given, and the listing itself


async def test_descriptors_reach_the_job_and_stay_open_here(zygote, tmp_path):
    (tmp_path / "file").write_text("content")
    with open(tmp_path / "file") as file:
        assert await zygote.run("read", {}, fds=[file.fileno()] * 5, deadline=LONG) == {"text": "content", "count": 5}
        assert not file.closed


async def test_an_error_arrives_as_the_class_it_was_raised_as(zygote):
    with pytest.raises(NotFound, match="layer 7"):
        await zygote.run("fail", {"known": True}, deadline=LONG)


async def test_an_error_that_nobody_planned_for_is_internal(zygote):
    with pytest.raises(Internal, match="ZeroDivisionError: by zero"):
        await zygote.run("fail", {}, deadline=LONG)


async def test_a_job_that_cannot_be_loaded_does_not_hurt_the_others(zygote):
    with pytest.raises(Internal, match="no_such_module"):
        await zygote.run("absent", {}, deadline=LONG)
    assert (await zygote.run("echo", {}, deadline=LONG))["args"] == {}


async def test_jobs_are_warmed_up_in_the_zygote(zygote):
    result = await zygote.run("warmed", {}, deadline=LONG)
    assert set(result["pids"]) == {zygote.pid}


async def test_an_unknown_job_is_refused(zygote):
    with pytest.raises(InvalidArgument):
        await zygote.run("nonsense", {}, deadline=LONG)


async def test_a_child_that_dies_is_told_with_its_signal(zygote):
    with pytest.raises(Internal, match="SIGKILL"):
        await zygote.run("die", {}, deadline=LONG)


async def test_at_its_deadline_a_child_is_dead_before_the_caller_hears_of_it(zygote):
    await zygote.run("echo", {}, deadline=LONG)  # loaded: the deadline below is the job's alone
    pids: list[int] = []
    with pytest.raises(DeadlineExceeded, match="hang"):
        await zygote.run("hang", {}, deadline=0.3, progress=lambda message: pids.append(message["pid"]))
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


async def test_cancelling_kills_the_child(zygote):
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    job = asyncio.ensure_future(
        zygote.run("hang", {}, deadline=LONG, progress=lambda message: started.set_result(message["pid"]))
    )
    pid = await started
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def slow_to_tell(monkeypatch):
    """A zygote that says only a while after each fork that there is a child, which has begun by then."""
    monkeypatch.setenv(ENVIRONMENT, "zygote.fork.forked=sleep(300)")


async def test_a_child_that_works_before_its_zygote_tells_of_it_is_dead_when_its_cancelled_job_ends(
    slow_to_tell, zygote
):
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    job = asyncio.ensure_future(
        zygote.run("hang", {}, deadline=LONG, progress=lambda message: started.set_result(message["pid"]))
    )
    pid = await started
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_cancelling_before_the_fork_leaves_nothing(zygote):
    jobs = [asyncio.ensure_future(zygote.run("hang", {}, deadline=LONG)) for _ in range(5)]
    await asyncio.sleep(0)
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    await zygote.run("echo", {}, deadline=LONG)  # in the queue behind them
    with open(f"/proc/{zygote.pid}/task/{zygote.pid}/children") as file:
        children = file.read().split()
    for pid in children:
        await gone(int(pid))


async def test_a_detached_child_has_its_own_session_and_outlives_the_zygote(zygote):
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            pid = await zygote.detach("linger", {}, fds=[theirs.fileno()])
        assert (await asyncio.to_thread(ours.recv, 100)).decode() == f"{pid} {pid}"
        await zygote.stop()
        ours.send(b"x")
        os.kill(pid, 0)
    await gone(pid)


async def test_when_the_zygote_dies_its_jobs_fail_and_die_and_the_next_one_works(zygote):
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    job = asyncio.ensure_future(
        zygote.run("hang", {}, deadline=LONG, progress=lambda message: started.set_result(message["pid"]))
    )
    pid = await started
    first = zygote.pid
    os.kill(first, signal.SIGKILL)
    with pytest.raises(Unavailable, match="restarted"):
        await job
    await gone(pid)
    assert (await zygote.run("echo", {}, deadline=LONG))["args"] == {}
    assert zygote.pid != first
    await gone(first)


async def test_when_the_zygote_stops_its_jobs_die(zygote):
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    job = asyncio.ensure_future(
        zygote.run("hang", {}, deadline=LONG, progress=lambda message: started.set_result(message["pid"]))
    )
    pid = await started
    await zygote.stop()
    with pytest.raises(Unavailable):
        await job
    await gone(pid)
    with pytest.raises(Unavailable, match="stopped"):
        await zygote.run("echo", {}, deadline=LONG)


async def test_a_hundred_jobs_at_once_all_end(zygote):
    results = await asyncio.gather(*(zygote.run("echo", {"n": n}, deadline=LONG) for n in range(100)))
    assert [result["args"]["n"] for result in results] == list(range(100))


async def test_more_jobs_than_the_queue_holds_are_refused_and_not_lost(zygote):
    results = await asyncio.gather(
        *(zygote.run("echo", {}, deadline=LONG) for _ in range(400)), return_exceptions=True
    )
    assert {type(result) for result in results} <= {dict, ResourceExhausted}
    assert sum(type(result) is dict for result in results) >= 100
