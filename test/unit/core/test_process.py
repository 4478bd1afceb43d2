import asyncio
import fcntl
import os
import signal
import time

import pytest

from core.process import MAX_STDERR, execute

ENVIRONMENT = {"PATH": os.environ["PATH"], "WORD": "hello"}


async def shell(script, stdin=b"", limit=1 << 20, timeout=5.0):
    return await execute(["/bin/sh", "-c", script], ENVIRONMENT, stdin, limit=limit, timeout=timeout)


def alive(pid):
    """Whether a process runs; a zombie that its new parent has yet to reap does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def wait_dead(pid):
    async with asyncio.timeout(5):
        while alive(pid):
            await asyncio.sleep(0)


async def test_what_a_program_reads_and_writes_goes_through():
    done = await shell('cat; echo "$WORD" >&2', stdin=b"in")
    assert (done.code, done.stdout, done.stderr, done.truncated) == (0, b"in", b"hello\n", False)


async def test_input_and_output_may_be_larger_than_a_pipe():
    data = bytes(range(256)) * 2048
    assert (await shell("cat", stdin=data)).stdout == data


async def test_the_exit_code_and_the_signal_are_told():
    assert (await shell("exit 7")).code == 7
    assert (await shell("kill -9 $$")).code == -signal.SIGKILL


async def test_output_above_the_limit_ends_the_program():
    done = await shell("yes", limit=1000)
    assert (len(done.stdout), done.truncated, done.code) == (1000, True, -signal.SIGKILL)


async def test_stderr_is_cut_but_does_not_end_the_program():
    done = await shell("head -c 1000000 /dev/zero >&2; echo done")
    assert (done.stdout, len(done.stderr), done.truncated) == (b"done\n", MAX_STDERR, False)


async def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path):
    with pytest.raises(TimeoutError):
        await shell(f"sleep 1000 & echo $! > {tmp_path}/pid; wait", timeout=0.2)
    await wait_dead((tmp_path / "pid").read_text().strip())


async def test_what_a_failed_program_leaves_behind_is_killed():
    done = await shell("sleep 1000 & echo $!; exit 1")
    await wait_dead(int(done.stdout))


async def test_an_orphan_that_keeps_stdout_open_does_not_hold_up_the_answer():
    started = time.monotonic()
    done = await shell("sleep 1000 & echo $!")
    os.kill(int(done.stdout), signal.SIGKILL)
    assert time.monotonic() - started < 5


async def test_a_cancelled_caller_lets_the_program_end(tmp_path):
    task = asyncio.create_task(shell(f"echo > {tmp_path}/begun; sleep 0.1; echo > {tmp_path}/ended"))
    async with asyncio.timeout(5):
        while not (tmp_path / "begun").exists():
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "ended").exists()


async def test_a_program_inherits_no_descriptor_of_ours_and_no_ignored_signal():
    opened = os.open("/dev/null", os.O_RDONLY)
    ours = [opened, fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 600)]
    done = await shell("ls /proc/$$/fd; grep SigIgn /proc/$$/status")
    for fd in ours:
        os.close(fd)
    *fds, ignored = done.stdout.decode().splitlines()
    assert "600" not in fds
    mask = int(ignored.split()[1], 16)
    assert [number for number in signal.valid_signals() if mask >> number - 1 & 1] == []


async def test_a_program_that_is_not_there_is_told_and_leaves_no_descriptor():
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        await execute(["/no/such/program"], {}, b"", limit=1, timeout=1)
    await shell("true")
    assert os.listdir("/proc/self/fd") == before
