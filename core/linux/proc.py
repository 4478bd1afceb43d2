"""Processes, as /proc shows them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from core.linux.cgroup import read_file

_OPEN_FILES = "Max open files"


def open_files(pid: int) -> tuple[int, int]:
    """How many descriptors the process has open, and how many of them are sockets; none when it is gone."""
    count = sockets = 0
    try:
        directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0, 0
    try:
        for name in os.listdir(directory):
            try:
                sockets += os.readlink(name, dir_fd=directory).startswith("socket:")
                count += 1
            except OSError:  # closed meanwhile
                continue
    except OSError:
        return 0, 0
    finally:
        os.close(directory)
    return count, sockets


def has_died(pid: int) -> bool:
    """Whether the process is gone, or only waits to be reaped (proc_pid_stat(5), state)."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            state = file.read(1024).rpartition(b") ")[2][:1]
    except OSError:
        return True
    return state in b"ZX"


def soft_limit_of_files(pid: int) -> int | None:
    """RLIMIT_NOFILE's soft value; None when it is unlimited, or the process is gone. prlimit(2) would need a capability
    to look at another user's."""
    try:
        lines = read_file(f"/proc/{pid}/limits").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(_OPEN_FILES):
            soft = line.removeprefix(_OPEN_FILES).split()[0]
            return int(soft) if soft.isdecimal() else None
    return None


def pss(pids: Iterable[int]) -> int:
    """Bytes of memory that the processes have, of what they share with others their share (proc_pid_smaps_rollup(5));
    one that has ended has none. It takes 0.2 ms for each."""
    return sum(map(_pss, pids))


def _pss(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:")), 0)
