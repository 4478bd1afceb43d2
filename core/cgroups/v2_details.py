"""Everything that cgroup v2 tells of a group."""

from __future__ import annotations

from collections.abc import Iterator

from core.cgroups.details import CpuTimes, Details, DeviceIo, HugePages, Limits, MemoryDetails, Read, page_sizes
from core.cgroups.files import limit, number
from core.cgroups.usage import Usage

_DEFAULT_PERIOD = 100_000  # microseconds; cgroup-v2.rst, cpu.max


def read_details(directory: str, read: Read, usage: Usage) -> Details:
    """What there is beside `usage`. Raises OSError when the group is gone."""

    def content(name: str) -> bytes:
        return read(f"{directory}/{name}")

    def value(name: str) -> int:
        return int(content(name) or 0)

    cpu, memory, events = content("cpu.stat"), content("memory.stat"), content("memory.events")
    quota, _, period = content("cpu.max").partition(b" ")
    return Details(
        usage=usage,
        cpu=CpuTimes(
            user=number(cpu, b"\nuser_usec ") * 1000,
            system=number(cpu, b"\nsystem_usec ") * 1000,
            periods=number(cpu, b"\nnr_periods "),
            throttled_periods=number(cpu, b"\nnr_throttled "),
            throttled=number(cpu, b"\nthrottled_usec ") * 1000,
        ),
        memory=MemoryDetails(
            peak=value("memory.peak"),
            cache=number(memory, b"\nfile "),
            mapped_file=number(memory, b"\nfile_mapped "),
            active_file=number(memory, b"\nactive_file "),
            kernel=number(memory, b"\nkernel "),
            limit_hits=number(events, b"\nmax "),
            oom_kills=number(events, b"\noom_kill "),
            own_page_faults=usage.page_faults,
            own_major_page_faults=usage.major_page_faults,
        ),
        io=tuple(_io(content("io.stat"))),
        huge_pages={
            size: HugePages(usage=int(taken), peak=None)
            for size in page_sizes()
            if (taken := content(f"hugetlb.{size}.current"))
        },
        threads=value("pids.current"),
        limits=Limits(
            cpu_shares=shares_of(value("cpu.weight")),
            cpu_quota=limit(quota),
            cpu_period=int(period or _DEFAULT_PERIOD),
            memory=limit(content("memory.max")),
            memory_reservation=limit(content("memory.high")),
            memory_swap=limit(content("memory.swap.max")),
            threads=limit(content("pids.max")),
        ),
    )


def shares_of(weight: int) -> int:
    """v1's cpu.shares, 2 to 262144, of v2's cpu.weight, 1 to 10000; 0 of 0, "not known"."""
    return 2 + (weight - 1) * 262142 // 9999 if weight else 0


def _io(content: bytes) -> Iterator[DeviceIo]:
    """Lines like `254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`; a device without any has only its name."""
    for device, *words in map(bytes.split, content.splitlines()):
        major, minor = map(int, device.split(b":"))
        values = {key: int(value) for key, _, value in (word.partition(b"=") for word in words)}
        for operation, size, count in (("Read", b"rbytes", b"rios"), ("Write", b"wbytes", b"wios")):
            if size in values:
                yield DeviceIo(
                    major=major, minor=minor, operation=operation, size=values[size], count=values.get(count, 0)
                )
