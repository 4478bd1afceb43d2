"""A loop made in one process and run in forks of it."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from core.shim.loop import ForkedLoop


def _forked(body: Callable[[], None]) -> int:
    """Run `body` in a child; its pid."""
    pid = os.fork()  # noqa: TID251 - as the zygote does
    if pid == 0:
        try:
            body()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


async def _signalled(number: int) -> None:
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, heard.set)
    os.kill(os.getpid(), number)
    async with asyncio.timeout(5):
        await heard.wait()


def test_each_fork_runs_it_as_its_own() -> None:
    loop = ForkedLoop()

    def run() -> None:
        loop.own()
        loop.run_until_complete(_signalled(signal.SIGUSR1))

    children = [_forked(run) for _ in range(3)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    loop.close()


def test_before_it_is_owned_it_has_no_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    loop = ForkedLoop()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    loop.close()
