"""A group of cgroup v2: one directory (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

from core.cgroups.cgroups import Group
from core.cgroups.details import Details
from core.cgroups.files import ControlFiles, limit, number, pids_below, pressure
from core.cgroups.usage import Usage
from core.cgroups.v2_details import read_details
from core.linux.cgroup import Hierarchy


class GroupV2:
    def __init__(self, hierarchy: Hierarchy, group: str, *, keep: bool) -> None:
        """Nothing is read yet."""
        self._directory = hierarchy.directory(group)
        self._files = ControlFiles(keep=keep)
        self._paths = tuple(f"{self._directory}/{name}" for name in ("cpu.stat", "memory.current", "memory.stat"))
        self._limits = tuple(
            f"{self._directory}/{name}" for name in ("memory.max", "memory.swap.current", "memory.swap.max")
        )
        self._pressures = tuple(f"{self._directory}/{name}.pressure" for name in ("cpu", "memory", "io"))

    def usage(self) -> Usage:
        read = self._files.read
        cpu, memory, stat = map(read, self._paths)
        if not cpu:  # there in every group but the root, whatever its controllers
            raise FileNotFoundError(f"control group {self._directory}")
        memory_limit, swap, swap_limit = (limit(read(path)) for path in self._limits)
        cpu_pressure, memory_pressure, io_pressure = (pressure(read(path)) for path in self._pressures)
        return Usage(
            cpu=number(cpu, b"usage_usec ") * 1000,
            memory=int(memory or 0),
            inactive_file=number(stat, b"\ninactive_file "),
            rss=number(stat, b"anon "),  # the first line; what cAdvisor calls rss
            page_faults=number(stat, b"\npgfault "),
            major_page_faults=number(stat, b"\npgmajfault "),
            memory_limit=memory_limit,
            swap=swap or 0,
            swap_limit=swap_limit,
            cpu_pressure=cpu_pressure,
            memory_pressure=memory_pressure,
            io_pressure=io_pressure,
        )

    def details(self) -> Details:
        return read_details(self._directory, ControlFiles(keep=False).read, self.usage())

    def pids(self) -> list[int]:
        return pids_below(self._directory)

    def close(self) -> None:
        self._files.close()


_fits: type[Group] = GroupV2
