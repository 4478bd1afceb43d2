"""The rehearsal with the shim's real code, in this process."""

import os
import signal
import threading
from typing import Any

import pytest

from core.shim.rehearsal import rehearse
from core.shim.serve import serve


def what_there_is() -> tuple[object, ...]:
    """Whatever a forked shim would inherit."""
    files = sorted(name for name in os.listdir("/tmp") if name.startswith(f"crisp-{os.getpid()}-"))
    handlers = [signal.getsignal(number) for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM)]
    return len(os.listdir("/proc/self/fd")), files, handlers


def test_a_rehearsal_is_played_to_its_end_and_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    before, threads = what_there_is(), set(threading.enumerate())
    rehearse(serve)
    assert what_there_is() == before
    assert set(threading.enumerate()) <= threads  # one of an earlier test's may have ended meanwhile
    assert not caplog.records
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_rehearsal_that_fails_leaves_nothing_and_does_not_hurt(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(*args: Any) -> None:
        args[-1].close()
        raise OSError("no shim today")

    before = what_there_is()
    rehearse(refuse)
    assert what_there_is() == before
    assert [record.message for record in caplog.records] == ["shim not warmed up"]
