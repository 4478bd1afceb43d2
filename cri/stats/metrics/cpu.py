"""Processor time, its quota, and what waited for it."""

from __future__ import annotations

from collections.abc import Callable

from core.cgroups.details import Details
from core.cgroups.usage import Pressure
from cri.stats.metrics.family import COUNTER, SECOND, Family, of_group


def _of_quota(value: Callable[[Details], int]) -> Callable[[Details], int | None]:
    """Only where there is a quota: the others are never throttled."""
    return lambda details: value(details) if details.limits.cpu_quota is not None else None


def _pressure(resource: str, waiting: str, stalled: str, of: Callable[[Details], Pressure | None]) -> list[Family]:
    def some(details: Details) -> int | None:
        pressure = of(details)
        return pressure.some.total // SECOND if pressure else None

    def full(details: Details) -> int | None:
        pressure = of(details)
        return pressure.full.total // SECOND if pressure and pressure.full else None

    name = f"container_pressure_{resource}"
    return [
        of_group(f"{name}_waiting_seconds_total", waiting, COUNTER, some),
        of_group(f"{name}_stalled_seconds_total", stalled, COUNTER, full),
    ]


CPU = [
    of_group(
        "container_cpu_usage_seconds_total",
        "Processor time used, in seconds.",
        COUNTER,
        lambda details: details.usage.cpu // SECOND,
    ),
    of_group(
        "container_cpu_user_seconds_total",
        "Processor time used in user mode, in seconds.",
        COUNTER,
        lambda details: details.cpu.user // SECOND,
    ),
    of_group(
        "container_cpu_system_seconds_total",
        "Processor time used in the kernel, in seconds.",
        COUNTER,
        lambda details: details.cpu.system // SECOND,
    ),
    of_group(
        "container_cpu_cfs_periods_total",
        "Periods in which the quota was enforced.",
        COUNTER,
        _of_quota(lambda details: details.cpu.periods),
    ),
    of_group(
        "container_cpu_cfs_throttled_periods_total",
        "Periods in which the quota was used up.",
        COUNTER,
        _of_quota(lambda details: details.cpu.throttled_periods),
    ),
    of_group(
        "container_cpu_cfs_throttled_seconds_total",
        "Time that the quota kept processes from running, in seconds.",
        COUNTER,
        _of_quota(lambda details: details.cpu.throttled // SECOND),
    ),
]

PRESSURE = [
    *_pressure(
        "cpu",
        "Time that some processes waited for a processor, in seconds.",
        "Time that all processes waited for a processor, in seconds.",
        lambda details: details.usage.cpu_pressure,
    ),
    *_pressure(
        "memory",
        "Time that some processes waited for memory, in seconds.",
        "Time that all processes waited for memory, in seconds.",
        lambda details: details.usage.memory_pressure,
    ),
    *_pressure(
        "io",
        "Time that some processes waited for the disk, in seconds.",
        "Time that all processes waited for the disk, in seconds.",
        lambda details: details.usage.io_pressure,
    ),
]
