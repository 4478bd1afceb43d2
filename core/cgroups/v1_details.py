"""Everything that cgroup v1 tells of a group, controller by controller."""

from __future__ import annotations

from collections.abc import Mapping

from core.cgroups.details import CpuTimes, Details, DeviceIo, HugePages, Limits, MemoryDetails, Read, page_sizes
from core.cgroups.files import limit, number
from core.cgroups.usage import Usage
from core.linux.cgroup import CgroupLayout


class V1Details:
    def __init__(self, layout: CgroupLayout, group: str) -> None:
        self._directories = {
            name: layout.directory(name, group)
            for name in ("cpu", "cpuacct", "memory", "blkio", "hugetlb", "pids")
            if name in layout.controllers
        }

    def read(self, read: Read, usage: Usage) -> Details:
        """What there is beside `usage`. Raises OSError when the group is gone."""

        def content(controller: str, name: str) -> bytes:
            directory = self._directories.get(controller)
            return read(f"{directory}/{name}") if directory else b""

        def value(controller: str, name: str) -> int:
            return int(content(controller, name) or 0)

        cpu, memory = content("cpu", "cpu.stat"), content("memory", "memory.stat")
        quota = value("cpu", "cpu.cfs_quota_us")
        return Details(
            usage=usage,
            cpu=CpuTimes(
                user=value("cpuacct", "cpuacct.usage_user"),
                system=value("cpuacct", "cpuacct.usage_sys"),
                periods=number(cpu, b"nr_periods "),
                throttled_periods=number(cpu, b"\nnr_throttled "),
                throttled=number(cpu, b"\nthrottled_time "),
            ),
            memory=MemoryDetails(
                peak=value("memory", "memory.max_usage_in_bytes"),
                cache=number(memory, b"\ntotal_cache "),
                mapped_file=number(memory, b"\ntotal_mapped_file "),
                active_file=number(memory, b"\ntotal_active_file "),
                kernel=value("memory", "memory.kmem.usage_in_bytes"),
                limit_hits=value("memory", "memory.failcnt"),
                oom_kills=number(content("memory", "memory.oom_control"), b"\noom_kill "),
                own_page_faults=number(memory, b"\npgfault "),
                own_major_page_faults=number(memory, b"\npgmajfault "),
            ),
            io=_io(
                content("blkio", "blkio.throttle.io_service_bytes_recursive"),
                content("blkio", "blkio.throttle.io_serviced_recursive"),
            ),
            huge_pages=self._huge_pages(read),
            threads=value("pids", "pids.current"),
            limits=Limits(
                cpu_shares=value("cpu", "cpu.shares"),
                cpu_quota=quota if quota > 0 else None,
                cpu_period=value("cpu", "cpu.cfs_period_us"),
                memory=limit(content("memory", "memory.limit_in_bytes")),
                memory_reservation=limit(content("memory", "memory.soft_limit_in_bytes")),
                memory_swap=limit(content("memory", "memory.memsw.limit_in_bytes")),
                threads=limit(content("pids", "pids.max")),
            ),
        )

    def _huge_pages(self, read: Read) -> Mapping[str, HugePages]:
        directory = self._directories.get("hugetlb")
        if directory is None:
            return {}
        return {
            size: HugePages(
                usage=int(read(f"{directory}/hugetlb.{size}.usage_in_bytes") or 0),
                peak=int(read(f"{directory}/hugetlb.{size}.max_usage_in_bytes") or 0),
            )
            for size in page_sizes()
        }


def _io(sizes: bytes, counts: bytes) -> tuple[DeviceIo, ...]:
    """Two files of lines like `254:0 Read 4096`, with more operations and totals that say nothing new."""
    counted = {tuple(words[:2]): int(words[2]) for words in map(bytes.split, counts.splitlines()) if len(words) == 3}
    found = []
    for words in map(bytes.split, sizes.splitlines()):
        if len(words) == 3 and words[1] in (b"Read", b"Write"):
            major, minor = map(int, words[0].split(b":"))
            count = counted.get((words[0], words[1]), 0)
            found.append(
                DeviceIo(major=major, minor=minor, operation=words[1].decode(), size=int(words[2]), count=count)
            )
    return tuple(found)
