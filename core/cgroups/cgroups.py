"""Control groups, whichever version of cgroups the node has.

A group is read straight from the kernel's files: no process is asked and none is woken.
"""

from __future__ import annotations

from typing import Protocol

from core.cgroups.details import Details
from core.cgroups.usage import Usage


class Group(Protocol):
    """One control group, there or not. It belongs to one thread."""

    def usage(self) -> Usage:
        """A few of its files, kept open for the next time. Raises OSError when the group is gone."""

    def details(self) -> Details:
        """All of its files. Raises OSError when the group is gone."""

    def pids(self) -> list[int]:
        """The processes in the group and below; none when it is gone."""

    def close(self) -> None:
        """Let go of open files. Idempotent, and the next reading opens them again."""
