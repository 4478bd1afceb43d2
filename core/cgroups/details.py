"""Everything that a control group tells: what monitoring asks for every half minute."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.cgroups.usage import Usage

Read = Callable[[str], bytes]
"""Content of the control file at a path, b"" when the kernel has none. Raises OSError when its group is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """Nanoseconds and counts."""

    user: int
    system: int
    periods: int
    """Of enforcing the quota."""
    throttled_periods: int
    throttled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDetails:
    """Bytes and counts."""

    peak: int
    cache: int
    mapped_file: int
    active_file: int
    kernel: int
    limit_hits: int
    """How often the limit was reached."""
    oom_kills: int
    own_page_faults: int
    """Of the group itself, without those below, where the kernel tells them apart."""
    own_major_page_faults: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIo:
    """Of one block device and operation, `Read` or `Write`."""

    major: int
    minor: int
    operation: str
    size: int
    """Bytes."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePages:
    """Bytes in pages of one size."""

    usage: int
    peak: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """As the kernel enforces them; None where there is none."""

    cpu_shares: int
    cpu_quota: int | None
    """Microseconds of each period."""
    cpu_period: int
    memory: int | None
    memory_reservation: int | None
    memory_swap: int | None
    """v1: of memory and swap together."""
    threads: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    usage: Usage
    cpu: CpuTimes
    memory: MemoryDetails
    io: tuple[DeviceIo, ...]
    huge_pages: Mapping[str, HugePages]
    """By page size, as the kernel writes it: `2MB`."""
    threads: int
    limits: Limits


@functools.cache
def page_sizes() -> tuple[str, ...]:
    """Sizes of huge pages, as cgroup files are named by them."""
    try:
        found = os.listdir("/sys/kernel/mm/hugepages")
    except FileNotFoundError:
        return ()
    return tuple(_named(int(name.removeprefix("hugepages-").removesuffix("kB"))) for name in sorted(found))


def _named(kilobytes: int) -> str:
    """mm/hugetlb_cgroup.c, mem_fmt."""
    if kilobytes >= 1 << 20:
        return f"{kilobytes >> 20}GB"
    return f"{kilobytes >> 10}MB" if kilobytes >= 1 << 10 else f"{kilobytes}KB"
