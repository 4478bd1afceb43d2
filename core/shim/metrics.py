"""What a container's cgroup tells, in the messages that containerd's clients read (github.com/containerd/cgroups).

crispd reads cgroups itself: this is for a containerd that drives us, and its messages are loaded when it asks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from google.protobuf.message import Message

from core.linux.cgroup import read_file

NO_LIMIT = (1 << 64) - 1
TICK = 10**9 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of one unit in cpuacct.stat."""
_V1_NAMES = {"pgfault": "pg_fault", "pgmajfault": "pg_maj_fault"}
_V1_NAMES |= {f"total_{kernel}": f"total_{name}" for kernel, name in _V1_NAMES.items()}
"""Of lines in memory.stat that the message calls otherwise."""


def metrics(directories: Mapping[str, str]) -> Message:
    """For the group in `directories`, by controller, as CgroupLayout has them. Raises OSError when it is gone."""
    return _version_1(directories) if "cpuacct" in directories else _version_2(directories[""])


def _version_1(directories: Mapping[str, str]) -> Message:
    from core.api import cgroup1_pb2 as api  # noqa: PLC0415 - see above

    group = directories["memory"]
    memory = api.MemoryStat(usage=_entry(f"{group}/memory"), swap=_entry(f"{group}/memory.memsw"))
    lines = _lines(f"{group}/memory.stat")
    _copy({_V1_NAMES.get(name, name): value for name, value in lines.items()}, memory)
    times, quota = _lines(f"{directories['cpuacct']}/cpuacct.stat"), _lines(f"{directories['cpu']}/cpu.stat")
    cpu = api.CPUStat(
        usage=api.CPUUsage(
            total=_number(f"{directories['cpuacct']}/cpuacct.usage"),
            kernel=times.get("system", 0) * TICK,
            user=times.get("user", 0) * TICK,
        ),
        throttling=api.Throttle(
            periods=quota.get("nr_periods", 0),
            throttled_periods=quota.get("nr_throttled", 0),
            throttled_time=quota.get("throttled_time", 0),
        ),
    )
    return api.Metrics(cpu=cpu, memory=memory, pids=api.PidsStat(**_pids(directories.get("pids", ""))))


def _version_2(directory: str) -> Message:
    from core.api import cgroup2_pb2 as api  # noqa: PLC0415 - see above

    cpu = api.CPUStat()
    _copy(_lines(f"{directory}/cpu.stat"), cpu)
    memory = api.MemoryStat(
        usage=_number(f"{directory}/memory.current"),
        usage_limit=_number(f"{directory}/memory.max"),
        swap_usage=_number(f"{directory}/memory.swap.current"),
        swap_limit=_number(f"{directory}/memory.swap.max"),
    )
    _copy(_lines(f"{directory}/memory.stat"), memory)
    return api.Metrics(cpu=cpu, memory=memory, pids=api.PidsStat(**_pids(directory)))


def _entry(prefix: str) -> dict[str, int]:
    """A MemoryEntry, of files whose names begin with `prefix`."""
    return {
        "limit": _number(f"{prefix}.limit_in_bytes"),
        "usage": _number(f"{prefix}.usage_in_bytes"),
        "max": _number(f"{prefix}.max_usage_in_bytes"),
        "failcnt": _number(f"{prefix}.failcnt"),
    }


def _pids(directory: str) -> dict[str, int]:
    limit = _number(f"{directory}/pids.max")
    return {"current": _number(f"{directory}/pids.current"), "limit": 0 if limit == NO_LIMIT else limit}


def _copy(lines: Mapping[str, int], message: Message) -> None:
    """Set the numbers in `message` that have a line of their name."""
    for name, field in message.DESCRIPTOR.fields_by_name.items():
        if name in lines and field.message_type is None:
            setattr(message, name, lines[name])


def _lines(path: str) -> dict[str, int]:
    """Lines of a name and a number each."""
    pairs = (line.split() for line in read_file(path).splitlines())
    return {name: int(value) for name, value in pairs}


def _number(path: str) -> int:
    """0 where the kernel has no such file (swap, say)."""
    try:
        text = read_file(path).strip()
    except FileNotFoundError:
        return 0
    return NO_LIMIT if text == "max" else int(text)
