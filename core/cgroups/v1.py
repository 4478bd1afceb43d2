"""A group of cgroup v1: one directory per controller (Documentation/admin-guide/cgroup-v1).

On a hybrid node the same group is in the unified hierarchy, too, without controllers but with its pressure files.
"""

from __future__ import annotations

from core.cgroups.cgroups import Group
from core.cgroups.details import Details
from core.cgroups.files import ControlFiles, below_infinity, number, pids_below, pressure
from core.cgroups.usage import Usage
from core.cgroups.v1_details import V1Details
from core.linux.cgroup import CgroupLayout


class GroupV1:
    def __init__(self, layout: CgroupLayout, group: str, *, keep: bool) -> None:
        """Nothing is read yet. Raises KeyError when the node lacks the cpuacct or memory controller."""
        cpu, self._memory = layout.directory("cpuacct", group), layout.directory("memory", group)
        self._files = ControlFiles(keep=keep)
        self._details = V1Details(layout, group)
        self._paths = (
            f"{cpu}/cpuacct.usage",
            f"{self._memory}/memory.usage_in_bytes",
            f"{self._memory}/memory.stat",
        )
        unified = layout.unified.directory(group) if layout.unified else ""
        self._pressures = tuple(f"{unified}/{name}.pressure" for name in ("cpu", "memory", "io")) if unified else ()

    def usage(self) -> Usage:
        read = self._files.read
        cpu, memory, stat = map(read, self._paths)
        if not cpu or not memory:
            raise FileNotFoundError(f"control group {self._memory}")
        pressures = [pressure(read(path)) for path in self._pressures] or [None] * 3
        bytes_limit = below_infinity(number(stat, b"\nhierarchical_memory_limit ")) or None
        both_limit = below_infinity(number(stat, b"\nhierarchical_memsw_limit ")) or None
        return Usage(
            cpu=int(cpu),
            memory=int(memory),
            inactive_file=number(stat, b"\ntotal_inactive_file "),
            rss=number(stat, b"\ntotal_rss "),
            page_faults=number(stat, b"\ntotal_pgfault "),
            major_page_faults=number(stat, b"\ntotal_pgmajfault "),
            memory_limit=bytes_limit,
            swap=number(stat, b"\ntotal_swap "),
            swap_limit=None if both_limit is None else max(both_limit - (bytes_limit or 0), 0),
            cpu_pressure=pressures[0],
            memory_pressure=pressures[1],
            io_pressure=pressures[2],
        )

    def details(self) -> Details:
        return self._details.read(ControlFiles(keep=False).read, self.usage())

    def pids(self) -> list[int]:
        return pids_below(self._memory)

    def close(self) -> None:
        self._files.close()


_fits: type[Group] = GroupV1
