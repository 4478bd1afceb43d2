"""Which process is meant: a pid alone names somebody else once it is reused."""

from __future__ import annotations

import errno
import functools
import os
import select
import signal
from dataclasses import dataclass

_START_TIME = 19  # index of field 22 after "pid (comm)", man 5 proc_pid_stat


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """Names one process for ever; can be written to disk and compared after a restart or a reboot."""

    pid: int
    start_time: int
    """Clock ticks after boot: field 22 of /proc/<pid>/stat."""
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """Raises ProcessLookupError."""
        return cls(pid=pid, start_time=start_time(pid), boot_id=boot_id())

    def open(self) -> int:
        """A pidfd of this very process, for the caller to close. Raises ProcessLookupError when it has been reaped."""
        if self.boot_id != boot_id():
            raise ProcessLookupError(f"process {self.pid} lived before the last boot")
        pidfd = open_pidfd(self.pid)
        try:
            if start_time(self.pid) != self.start_time:
                raise ProcessLookupError(f"process {self.pid} is another one now")
        except ProcessLookupError:
            os.close(pidfd)
            raise
        return pidfd

    def alive(self) -> bool:
        """False for a zombie."""
        try:
            pidfd = self.open()
        except ProcessLookupError:
            return False
        try:
            return not exited(pidfd)
        finally:
            os.close(pidfd)

    def send_signal(self, signum: int) -> None:
        """Raises ProcessLookupError."""
        pidfd = self.open()
        try:
            signal.pidfd_send_signal(pidfd, signum)
        finally:
            os.close(pidfd)


def open_pidfd(pid: int) -> int:
    """Raises ProcessLookupError when there is no such process."""
    try:
        return os.pidfd_open(pid)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        # Linux before 6.15: the process has been reaped, and its pid still names a session or group of others.
        raise ProcessLookupError(f"no process {pid}") from None


def exited(pidfd: int) -> bool:
    """Whether the process has ended; its parent may still have to reap it."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def start_time(pid: int) -> int:
    """Clock ticks after boot. Raises ProcessLookupError."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read(1024)
    except FileNotFoundError:
        raise ProcessLookupError(f"no process {pid}") from None
    return int(stat.rpartition(b") ")[2].split()[_START_TIME])  # comm may hold spaces and brackets


@functools.cache
def boot_id() -> str:
    """Random at each boot of the kernel."""
    with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
        return file.read().decode().strip()
