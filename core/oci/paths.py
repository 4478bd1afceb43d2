"""Paths of /proc and /sys that a container must not read or write."""

from __future__ import annotations

from collections.abc import Iterable

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",  # its counters tell what the node's devices, keyboards included, do and when
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",  # energy counters tell what others compute: GHSA-7ww5-4wqc-m92c
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def with_defaults(asked: Iterable[str], default: tuple[str, ...]) -> list[str]:
    """`default` and what else is `asked`, each once."""
    return list(dict.fromkeys((*default, *asked)))
