"""Processes of a pod that nobody knows by their pids: somebody has emptied the state directory under a living shim, or
crispd was killed before it could note one that is not ours.

They are known by the name that they show. Anybody can show it, but then gets no more by it than to be ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from core.linux.pidfd import open_pidfd
from core.log import get_logger

log = get_logger(__name__)

_MAX_TITLE = 4096  # bytes of a command line; those looked for have some hundred
_NAMES = ("crisp-shim", "crisp-init")


def end_strays(sandbox_id: str) -> None:
    """Kill the shim and the init of a sandbox, wherever they are. Blocks: it walks /proc."""
    titles = {f"{name} {sandbox_id}".encode() for name in _NAMES}
    _kill_all(lambda pid: _title(pid) in titles)


def end_foreign(sandbox_id: str, binary: str) -> None:
    """Kill the shim of a sandbox that was started with `binary`: its `-id` is the sandbox's. Blocks as above."""
    wanted = (os.fsencode(binary), b"-id", sandbox_id.encode())

    def matches(pid: int) -> bool:
        words = _title(pid).split(b"\0")
        return (words[0], *words[words.index(b"-id") :][:2]) == wanted if b"-id" in words else False

    _kill_all(matches)


def _kill_all(matches: Callable[[int], bool]) -> None:
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, PermissionError):
            if matches(pid):
                _kill(pid, matches)


def _kill(pid: int, matches: Callable[[int], bool]) -> None:
    pidfd = open_pidfd(pid)
    try:
        if matches(pid):  # still: what is looked at is what is killed
            log.warning("process of a pod without a directory is killed", pid=pid)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _title(pid: int) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
        return file.read(_MAX_TITLE).rstrip(b"\0")
