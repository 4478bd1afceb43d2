"""The OOM killer's score: what a process may be given (man 5 proc_pid_oom_score_adj)."""

from __future__ import annotations

from core.oci import capabilities


def floor() -> int:
    """The lowest oom_score_adj that crispd may give: without CAP_SYS_RESOURCE its own."""
    if "CAP_SYS_RESOURCE" in capabilities.available():
        return -1000
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        return int(file.read())
