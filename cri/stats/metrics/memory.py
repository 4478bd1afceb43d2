"""Memory, swap, huge pages, and what happened for lack of them."""

from __future__ import annotations

from collections.abc import Iterable

from cri.stats.metrics.family import COUNTER, GAUGE, Family, Sample, Source, of_group


def _failures(source: Source) -> Iterable[Sample]:
    """cAdvisor calls page faults failures to allocate memory."""
    if source.details is None:
        return
    usage, own = source.details.usage, source.details.memory
    yield ("pgfault", "container"), own.own_page_faults
    yield ("pgmajfault", "container"), own.own_major_page_faults
    yield ("pgfault", "hierarchy"), usage.page_faults
    yield ("pgmajfault", "hierarchy"), usage.major_page_faults


def _huge_usage(source: Source) -> Iterable[Sample]:
    pages = source.details.huge_pages if source.details else {}
    return [((size,), one.usage) for size, one in pages.items()]


def _huge_peak(source: Source) -> Iterable[Sample]:
    pages = source.details.huge_pages if source.details else {}
    return [((size,), one.peak) for size, one in pages.items() if one.peak is not None]


MEMORY = [
    of_group(
        "container_memory_usage_bytes",
        "Memory in use, with all caches.",
        GAUGE,
        lambda details: details.usage.memory,
    ),
    of_group(
        "container_memory_working_set_bytes",
        "Memory in use that cannot be had back cheaply.",
        GAUGE,
        lambda details: details.usage.working_set,
    ),
    of_group(
        "container_memory_max_usage_bytes",
        "The most memory that was ever in use.",
        GAUGE,
        lambda details: details.memory.peak,
    ),
    of_group("container_memory_rss", "Anonymous memory, in bytes.", GAUGE, lambda details: details.usage.rss),
    of_group("container_memory_cache", "Page cache, in bytes.", GAUGE, lambda details: details.memory.cache),
    of_group(
        "container_memory_mapped_file",
        "Files mapped into memory, in bytes.",
        GAUGE,
        lambda details: details.memory.mapped_file,
    ),
    of_group(
        "container_memory_total_active_file_bytes",
        "Page cache in recent use.",
        GAUGE,
        lambda details: details.memory.active_file,
    ),
    of_group(
        "container_memory_total_inactive_file_bytes",
        "Page cache that the kernel takes back first.",
        GAUGE,
        lambda details: details.usage.inactive_file,
    ),
    of_group(
        "container_memory_kernel_usage",
        "Memory of the kernel for these processes, in bytes.",
        GAUGE,
        lambda details: details.memory.kernel,
    ),
    of_group("container_memory_swap", "Swap in use, in bytes.", GAUGE, lambda details: details.usage.swap),
    of_group(
        "container_memory_failcnt",
        "How often the memory limit was reached.",
        COUNTER,
        lambda details: details.memory.limit_hits,
    ),
    Family(
        name="container_memory_failures_total",
        help="Page faults.",
        type=COUNTER,
        labels=("failure_type", "scope"),
        samples=_failures,
    ),
    of_group(
        "container_oom_events_total",
        "Processes that were killed for lack of memory.",
        COUNTER,
        lambda details: details.memory.oom_kills,
    ),
    Family(
        name="container_hugetlb_usage_bytes",
        help="Huge pages in use.",
        type=GAUGE,
        labels=("pagesize",),
        samples=_huge_usage,
    ),
    Family(
        name="container_hugetlb_max_usage_bytes",
        help="The most huge pages that were ever in use.",
        type=GAUGE,
        labels=("pagesize",),
        samples=_huge_peak,
    ),
]
