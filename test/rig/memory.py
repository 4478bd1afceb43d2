"""Memory, processor time and process trees, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def pss_of(pids: Iterable[int]) -> int:
    """Proportional set size of the processes together, in bytes; a process that is gone counts nothing."""
    return sum(_rollup(pid, "Pss") for pid in pids)


def private_of(pid: int) -> int:
    """Bytes that the process has written and shares with no other."""
    return _rollup(pid, "Private_Dirty")


def _rollup(pid: int, key: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def cpu_of(pids: Iterable[int]) -> float:
    """Processor seconds that the processes have used so far, without those of their children."""
    return sum(_ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])  # utime and stime: proc_pid_stat(5), fields 14 and 15


def tree_of(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree_of(int(child))
    return found
