"""Limits in force. As cAdvisor has it, 0 is no limit."""

from __future__ import annotations

from cri.stats.metrics.family import GAUGE, of_group

SPEC = [
    of_group(
        "container_spec_cpu_period",
        "Period of the processor quota, in microseconds.",
        GAUGE,
        lambda details: details.limits.cpu_period,
    ),
    of_group(
        "container_spec_cpu_quota",
        "Processor time per period, in microseconds.",
        GAUGE,
        lambda details: details.limits.cpu_quota,
    ),
    of_group(
        "container_spec_cpu_shares",
        "Share of the processor when others want it, too.",
        GAUGE,
        lambda details: details.limits.cpu_shares,
    ),
    of_group(
        "container_spec_memory_limit_bytes", "Memory limit.", GAUGE, lambda details: details.limits.memory or 0
    ),
    of_group(
        "container_spec_memory_reservation_limit_bytes",
        "Memory above which the kernel takes back what it can.",
        GAUGE,
        lambda details: details.limits.memory_reservation or 0,
    ),
    of_group(
        "container_spec_memory_swap_limit_bytes",
        "Swap limit; cgroup v1 counts memory in.",
        GAUGE,
        lambda details: details.limits.memory_swap or 0,
    ),
]
