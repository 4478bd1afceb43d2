"""Reaping: every process of the pod that loses its parent becomes the keeper's child, or this one's where there is none
(prctl(2), PR_SET_CHILD_SUBREAPER). Both tell of exits here.

An exit belongs to whoever waits for its pid. A container's first process is known only after the OCI runtime that made
it has ended; exits seen while a runtime is at work are kept until then, and no others, so nothing grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A child and the exit code that it will have."""

    pid: int
    exit: asyncio.Future[int]

    @classmethod
    def ended(cls, pid: int, code: int) -> Process:
        """One that has been reaped."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(code)
        return cls(pid=pid, exit=future)

    def kill(self, signum: int) -> None:
        """Success when it has ended: from then on the pid may be another's."""
        if not self.exit.done():
            os.kill(self.pid, signum)


class Reaper:
    """The only caller of waitpid(2) for whatever child of this process ends."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._early: dict[int, int] = {}
        self._expecting = 0

    def install(self) -> None:
        """Reap from now on, in the running loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)
        self.reap()

    def watch(self, pid: int) -> Process:
        """Child `pid`, once, before its exit can have been reaped or inside `expecting`.

        Its exit code will be 0-255, 128 + signal when a signal ended it.
        """
        if pid in self._early:
            return Process.ended(pid, self._early.pop(pid))
        future = self._waiting[pid] = asyncio.get_running_loop().create_future()
        return Process(pid=pid, exit=future)

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        """Inside the block exits of processes that nobody waits for yet are kept for `watch`."""
        self._expecting += 1
        try:
            yield
        finally:
            self._expecting -= 1
            if not self._expecting:
                self._early.clear()

    def reap(self) -> None:
        """Collect everything that has exited."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self.settle(pid, code if code >= 0 else 128 - code)

    def settle(self, pid: int, code: int) -> None:
        """Process `pid` has ended: whoever waits for it gets `code`."""
        future = self._waiting.pop(pid, None)
        if future is not None and not future.done():
            future.set_result(code)
        elif self._expecting:
            self._early[pid] = code
