"""The limits of a container's cgroup as the kernel has them, to be put back when changing them fails half-way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from core.linux.cgroup import CgroupLayout, read_file, write_file
from core.log import get_logger

log = get_logger(__name__)

_FILES = (
    *("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.weight", "cpu.max"),
    *("cpuset.cpus", "cpuset.mems"),
    *("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max"),
)
"""What an OCI runtime writes for LinuxResources, of both versions (Documentation/admin-guide/cgroup-v{1,2}.rst)."""
_PASSES = 2  # some files limit each other, like memory.limit_in_bytes and memsw: the second time the order fits


class SavedLimits:
    """The values that a change to `resources` (OCI LinuxResources) can touch. Nothing of a process that is gone."""

    def __init__(self, layout: CgroupLayout, pid: int, resources: Mapping[str, Any]) -> None:
        try:
            directories = set(layout.of_process(pid).values())
        except (FileNotFoundError, ProcessLookupError):
            directories = set()
        paths = [os.path.join(directory, name) for directory in directories for name in _names(resources)]
        self._values = [(path, value) for path in paths if (value := _read(path)) is not None]

    def restore(self) -> None:
        """Write back what differs. What the kernel does not take is logged: the container may be gone."""
        left = self._values
        for _ in range(_PASSES):
            left = [(path, value) for path, value in left if _read(path) != value and not _wrote(path, value)]
        for path, value in left:
            log.error("limit not restored", path=path, value=value.strip())


def _names(resources: Mapping[str, Any]) -> Iterator[str]:
    yield from _FILES
    yield from resources.get("unified", ())
    for page in resources.get("hugepageLimits", ()):
        yield f"hugetlb.{page['pageSize']}.limit_in_bytes"
        yield f"hugetlb.{page['pageSize']}.max"


def _read(path: str) -> str | None:
    try:
        return read_file(path)
    except OSError:
        return None


def _wrote(path: str, value: str) -> bool:
    try:
        write_file(path, value)
    except OSError:
        return False
    return True
