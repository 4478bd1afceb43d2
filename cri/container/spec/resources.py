"""Cgroup limits, from CRI to OCI and back."""

from __future__ import annotations

import functools
import os

from core.errdefs import InvalidArgument
from core.linux.cgroup import CgroupLayout
from cri import api
from cri.container.spec.source import Document

MIN_MEMORY = 512 << 10
"""Bytes below which not even the OCI runtime's own init fits, and it fails with a message nobody understands."""


def resources(wanted: api.LinuxContainerResources, layout: CgroupLayout) -> Document:
    """OCI LinuxResources of what is set; the kernel's defaults rule the rest. Raises InvalidArgument."""
    document: Document = {}
    cpu = {
        "shares": wanted.cpu_shares or None,
        "quota": wanted.cpu_quota or None,
        "period": wanted.cpu_period or None,
        "cpus": wanted.cpuset_cpus or None,
        "mems": wanted.cpuset_mems or None,
    }
    if any(value is not None for value in cpu.values()):
        document["cpu"] = {key: value for key, value in cpu.items() if value is not None}
    if memory := _memory(wanted):
        document["memory"] = memory
    if wanted.hugepage_limits and _has(layout, "hugetlb"):
        document["hugepageLimits"] = [
            {"pageSize": limit.page_size, "limit": limit.limit} for limit in wanted.hugepage_limits if limit.limit
        ]
    if wanted.unified:
        if layout.controllers:
            raise InvalidArgument("resources.unified: this node has cgroup v1")
        document["unified"] = dict(wanted.unified)
    return document


def _memory(wanted: api.LinuxContainerResources) -> Document:
    limit, swap = wanted.memory_limit_in_bytes, wanted.memory_swap_limit_in_bytes
    if 0 < limit < MIN_MEMORY:
        raise InvalidArgument(f"memory_limit_in_bytes {limit}: nothing starts with less than {MIN_MEMORY}")
    if limit and swap and 0 < swap < limit:
        raise InvalidArgument(f"memory_swap_limit_in_bytes {swap} is below the memory limit {limit}")
    memory: Document = {}
    if limit:
        memory["limit"] = limit
        if _swap_counted():
            memory["swap"] = swap or limit  # none of it: what containers of a kubelet without swap get
    return memory


@functools.cache
def _swap_counted() -> bool:
    """Whether the kernel accounts swap; writing the file where it does not is an error."""
    return os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes") or os.path.exists(
        "/sys/fs/cgroup/cgroup.controllers"
    )


def _has(layout: CgroupLayout, controller: str) -> bool:
    return controller in layout.controllers or controller in layout.unified_controllers


def in_force(wanted: api.LinuxContainerResources) -> api.ContainerResources:
    """What ContainerStatus reports."""
    return api.ContainerResources(linux=wanted)
