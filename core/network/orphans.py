"""Plugins that a daemon left running when it was killed: an ADD that ends after the pod's DEL keeps its address."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from collections.abc import Collection, Iterator

from core.errdefs import CrispError
from core.linux.pidfd import open_pidfd
from core.log import get_logger
from core.network.blocking import Blocking
from core.process import GRACE

log = get_logger(__name__)

_MAX_ENVIRONMENT = 2 << 20  # bytes; the kernel takes a quarter of an 8 MiB stack for arguments and environment
_KILL_WAIT = 5.0  # seconds until a process that SIGKILL does not end, in an uninterruptible call, is left to itself


class Orphans:
    """They hold up the pods that they were called for, and no others."""

    def __init__(self, blocking: Blocking) -> None:
        self._blocking = blocking
        self._pods: frozenset[str] = frozenset()
        self._ending: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup, pods: frozenset[str]) -> None:
        """Begin to end the plugins that an earlier daemon called for one of `pods`. Before we call any."""
        self._pods = pods
        self._ending = group.create_task(self._end())

    async def wait_ended(self, pod_id: str) -> None:
        """Return when none runs for this pod."""
        if self._ending and pod_id in self._pods:
            await asyncio.wait([self._ending])

    def close(self) -> None:
        if self._ending:
            self._ending.cancel()

    async def _end(self) -> None:
        try:
            await self._blocking(end_orphans, self._pods)
        except CrispError as exc:
            log.error("plugins of an earlier daemon may still run", error=exc)
        self._pods = frozenset()


def end_orphans(container_ids: Collection[str], grace: float = GRACE) -> None:
    """Return when no plugin runs any more that was called for one of `container_ids`.

    They have `grace` seconds together, then their process groups are killed. Blocks; for the start of the daemon, when
    it has not called any plugin itself.
    """
    deadline = time.monotonic() + grace
    with contextlib.ExitStack() as pidfds:
        for pid, pidfd in list(_orphans(frozenset(container_ids), pidfds)):
            ended = _wait(pidfd, deadline - time.monotonic())
            log.warning("plugin of an earlier daemon was running", pid=pid, killed=not ended)
            if not ended:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                _wait(pidfd, _KILL_WAIT)


def _orphans(container_ids: Collection[str], pidfds: contextlib.ExitStack) -> Iterator[tuple[int, int]]:
    """Their pids, and descriptors that `pidfds` closes."""
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        # Of a process with capabilities that we lack not even root reads the environment: it is no plugin of ours.
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, PermissionError):
            if not _leads_group(pid):
                continue
            pidfd = open_pidfd(pid)
            pidfds.callback(os.close, pidfd)
            if _container_id(pid) in container_ids:
                yield pid, pidfd


def _leads_group(pid: int) -> bool:
    """Whether it is as `execute` starts programs. A daemon that a plugin leaves behind for its pod is not."""
    fields = _read(pid, "stat").rpartition(b") ")[2].split()  # man 5 proc_pid_stat
    group, session = int(fields[2]), int(fields[3])
    return pid == group != session


def _container_id(pid: int) -> str:
    """CNI_CONTAINERID of a process that was called as a plugin, else ""."""
    variables = dict(item.partition(b"=")[::2] for item in _read(pid, "environ").split(b"\0"))
    return os.fsdecode(variables.get(b"CNI_CONTAINERID", b"")) if b"CNI_COMMAND" in variables else ""


def _read(pid: int, name: str) -> bytes:
    """Raises ProcessLookupError, FileNotFoundError, PermissionError."""
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.read(_MAX_ENVIRONMENT)


def _wait(pidfd: int, seconds: float) -> bool:
    """Wait for the end of the process; whether it has come."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(seconds, 0) * 1000))
