"""Memory and process trees, from /proc."""

from __future__ import annotations

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


def tree_of(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree_of(int(child))
    return found
