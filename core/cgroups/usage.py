"""What a control group uses: the values.

Numbers are bytes, nanoseconds and counts since the group was made, with all groups below it, and None where the kernel
does not tell or limit them. They are msgspec structs: one is made for each container at each call, and a frozen
dataclass costs ten times more.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Stall(Struct, frozen=True, kw_only=True, gc=False):
    """Share of time that processes waited, in percent of the last 10, 60 and 300 seconds, and in all."""

    avg10: float
    avg60: float
    avg300: float
    total: int


class Pressure(Struct, frozen=True, kw_only=True, gc=False):
    """Pressure stall information (Documentation/accounting/psi.rst)."""

    some: Stall
    """At least one process waited."""
    full: Stall | None
    """All of them did; old kernels do not tell it of the CPU."""


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """What is asked for every few seconds."""

    cpu: int
    memory: int
    inactive_file: int
    """The part of `memory` that the kernel takes back first."""
    rss: int
    page_faults: int
    major_page_faults: int
    memory_limit: int | None
    swap: int
    swap_limit: int | None
    cpu_pressure: Pressure | None = None
    memory_pressure: Pressure | None = None
    io_pressure: Pressure | None = None

    @property
    def working_set(self) -> int:
        """What the kubelet evicts by: memory that cannot be had back cheaply."""
        return max(self.memory - self.inactive_file, 0)


def total(usages: Sequence[Usage]) -> Usage | None:
    """Of groups together. Limits and pressures do not add up, so there are none."""
    if not usages:
        return None
    return Usage(
        cpu=sum(usage.cpu for usage in usages),
        memory=sum(usage.memory for usage in usages),
        inactive_file=sum(usage.inactive_file for usage in usages),
        rss=sum(usage.rss for usage in usages),
        page_faults=sum(usage.page_faults for usage in usages),
        major_page_faults=sum(usage.major_page_faults for usage in usages),
        memory_limit=None,
        swap=sum(usage.swap for usage in usages),
        swap_limit=None,
    )
