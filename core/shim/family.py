"""A process and all that it started, among the processes of a container: what ends when an exec's client is gone.

Its session (the OCI runtime gives each exec one, setsid(2)) and the descendants of those. What has left the session and
outlived its parent is a daemon, which an exec may well have been for.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

PASSES = 64
"""Looks for what was forked since the last one. Two do, but for what forks on purpose, which the memory and pids limits
of the container are there for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    pid: int
    parent: int
    session: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> Relation:
        """Raises OSError when it is gone."""
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read(1024).rpartition(b") ")[2].split()  # comm may hold spaces and brackets
        return cls(pid=pid, parent=int(fields[1]), session=int(fields[3]), start_time=int(fields[19]))


def kill_family(leader: int, candidates: Callable[[], Iterable[int]]) -> None:
    """SIGKILL `leader`, a child of ours that we have not reaped, and its family among `candidates`.

    All are stopped before the first one dies: a child of a dead parent can no longer be told from a stranger's.
    """
    members = {leader: Relation.of(leader)}
    _signal(members.values(), signal.SIGSTOP)
    for _ in range(PASSES):  # what has been stopped forks no more, but may have just before
        found = [member for member in family(leader, relations(candidates())) if member.pid not in members]
        if not found:
            break
        _signal(found, signal.SIGSTOP)
        members |= {member.pid: member for member in found}
    _signal(members.values(), signal.SIGKILL)


def family(leader: int, relatives: list[Relation]) -> list[Relation]:
    """Of `relatives` those in the session of `leader`, and the descendants of these and of it."""
    members = {one.pid: one for one in relatives if leader in (one.pid, one.parent, one.session)}
    grown = 0
    while grown != len(members):
        grown = len(members)
        members |= {one.pid: one for one in relatives if one.parent in members and one.pid not in members}
    return list(members.values())


def relations(pids: Iterable[int]) -> list[Relation]:
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            found.append(Relation.of(pid))
    return found


def _signal(members: Iterable[Relation], signum: int) -> None:
    for member in members:
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(member.pid)
            try:
                if Relation.of(member.pid).start_time == member.start_time:  # else the pid is another's by now
                    signal.pidfd_send_signal(pidfd, signum)
            finally:
                os.close(pidfd)
