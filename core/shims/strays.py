"""Processes of a pod whose directory is gone: somebody has emptied the state directory under a living shim.

They are known by the name that they show. Anybody can show it, but then gets no more by it than to be ended.
"""

from __future__ import annotations

import contextlib
import os
import signal

from core.log import get_logger

log = get_logger(__name__)

_NAMES = ("crisp-shim", "crisp-init")


def end_strays(sandbox_id: str) -> None:
    """Kill the shim and the init of a sandbox, wherever they are. Blocks: it walks /proc."""
    wanted = {f"{name} {sandbox_id}".encode() for name in _NAMES}
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, PermissionError):
            if _title(pid) in wanted:
                _kill(pid, wanted)


def _kill(pid: int, wanted: set[bytes]) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        if _title(pid) in wanted:  # still: what is looked at is what is killed
            log.warning("process of a pod without a directory is killed", pid=pid)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _title(pid: int) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
        return file.read(256).rstrip(b"\0")
