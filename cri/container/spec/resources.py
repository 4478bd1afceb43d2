"""Cgroup limits, from CRI to OCI and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from core.errdefs import InvalidArgument
from core.linux.cgroup import CgroupLayout
from core.oci.runtime import Cpu, HugepageLimit, Memory, Resources
from cri import api
from cri.container.spec.source import Facts

MIN_MEMORY = 512 << 10
"""Bytes below which not even the OCI runtime's own init fits, and it fails with a message nobody understands."""
OOM_SCORES = range(-1000, 1001)
"""Of oom_score_adj, man 5 proc."""
MIN_SHARES = 2
"""The kernel's MIN_SHARES, kernel/sched/sched.h; it raises what is lower by itself."""

_CGROUP_FILE = re.compile(r"[a-z0-9_]+(?:\.[A-Za-z0-9_]+)+")


def resources(wanted: api.LinuxContainerResources, facts: Facts) -> Resources:
    """OCI LinuxResources of what is set; of the rest nothing is said.

    Raises InvalidArgument.
    """
    document = Resources()
    if cpu := _cpu(wanted):
        document["cpu"] = cpu
    if memory := _memory(wanted, facts):
        document["memory"] = memory
    if wanted.hugepage_limits and has_controller(facts.layout, "hugetlb"):
        # A limit of 0 is one: the kubelet sends it for each size that the container did not ask for.
        document["hugepageLimits"] = [
            HugepageLimit(pageSize=limit.page_size, limit=limit.limit) for limit in wanted.hugepage_limits
        ]
    if wanted.unified:
        document["unified"] = unified_files(wanted.unified, facts.layout)
    return document


def _cpu(wanted: api.LinuxContainerResources) -> Cpu:
    if wanted.cpu_shares < 0 or wanted.cpu_period < 0 or wanted.cpu_quota < -1:
        raise InvalidArgument("resources: cpu_shares and cpu_period cannot be negative, cpu_quota only -1, no limit")
    cpu = Cpu()
    if wanted.cpu_shares:
        cpu["shares"] = max(wanted.cpu_shares, MIN_SHARES)
    if wanted.cpu_quota:
        cpu["quota"] = wanted.cpu_quota
    if wanted.cpu_period:
        cpu["period"] = wanted.cpu_period
    if wanted.cpuset_cpus:
        cpu["cpus"] = wanted.cpuset_cpus
    if wanted.cpuset_mems:
        cpu["mems"] = wanted.cpuset_mems
    return cpu


def _memory(wanted: api.LinuxContainerResources, facts: Facts) -> Memory:
    limit, swap = wanted.memory_limit_in_bytes, wanted.memory_swap_limit_in_bytes
    if limit < -1 or 0 < limit < MIN_MEMORY:
        raise InvalidArgument(f"resources.memory_limit_in_bytes {limit}: want {MIN_MEMORY} or more, or -1, no limit")
    if swap < -1 or (0 < swap < limit):
        raise InvalidArgument(f"resources.memory_swap_limit_in_bytes {swap}: counts memory, too, and that is {limit}")
    memory = Memory()
    if limit:
        memory["limit"] = limit
        if facts.swap:
            memory["swap"] = swap or limit  # none of it: what containers of a kubelet without swap get
    return memory


def unified_files(wanted: Mapping[str, str], layout: CgroupLayout) -> dict[str, str]:
    """Values by file of a cgroup. Raises InvalidArgument, on cgroup v1 always."""
    if layout.controllers:
        raise InvalidArgument("resources.unified: this node has cgroup v1")
    for name in wanted:
        if not _CGROUP_FILE.fullmatch(name):
            raise InvalidArgument(f"resources.unified[{name[:64]!r}]: not the name of a cgroup file")
    return dict(wanted)


def with_limits(document: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    """OCI LinuxResources with other `limits`, and all that these do not name as it was."""
    parts = ("cpu", "memory", "unified")
    merged: dict[str, Any] = {part: {**document.get(part, {}), **limits.get(part, {})} for part in parts}
    pages = [*document.get("hugepageLimits", []), *limits.get("hugepageLimits", [])]
    merged["hugepageLimits"] = list({page["pageSize"]: page for page in pages}.values())
    return {**document, **limits, **{part: value for part, value in merged.items() if value}}


def has_controller(layout: CgroupLayout, controller: str) -> bool:
    """Of either version."""
    return controller in layout.controllers or controller in layout.unified_controllers


def oom_score(wanted: api.LinuxContainerResources, facts: Facts) -> int:
    """oom_score_adj, as near to the wanted one as crispd may go. Raises InvalidArgument."""
    if wanted.oom_score_adj not in OOM_SCORES:
        raise InvalidArgument(f"resources.oom_score_adj {wanted.oom_score_adj}: want -1000 to 1000")
    return max(wanted.oom_score_adj, facts.oom_score_floor)


def in_force(document: Mapping[str, Any], oom_score_adj: int) -> api.LinuxContainerResources:
    """What ContainerStatus reports: the limits as they are, whatever the request left to us."""
    cpu, memory = document.get("cpu", {}), document.get("memory", {})
    return api.LinuxContainerResources(
        cpu_shares=cpu.get("shares", 0),
        cpu_quota=cpu.get("quota", 0),
        cpu_period=cpu.get("period", 0),
        cpuset_cpus=cpu.get("cpus", ""),
        cpuset_mems=cpu.get("mems", ""),
        memory_limit_in_bytes=memory.get("limit", 0),
        memory_swap_limit_in_bytes=memory.get("swap", 0),
        hugepage_limits=[
            api.HugepageLimit(page_size=limit["pageSize"], limit=limit["limit"])
            for limit in document.get("hugepageLimits", [])
        ],
        unified=document.get("unified", {}),
        oom_score_adj=oom_score_adj,
    )


def changed(
    current: api.LinuxContainerResources, asked: api.LinuxContainerResources
) -> api.LinuxContainerResources:
    """`current` with what `asked` sets: fields that are not zero, single page sizes, single unified files."""
    merged = api.LinuxContainerResources()
    merged.CopyFrom(current)
    if asked.memory_limit_in_bytes and current.memory_swap_limit_in_bytes == current.memory_limit_in_bytes:
        merged.memory_swap_limit_in_bytes = 0  # no swap before, and so none above the new limit
    pages = {limit.page_size: limit for limit in (*current.hugepage_limits, *asked.hugepage_limits)}
    merged.MergeFrom(asked)
    del merged.hugepage_limits[:]
    merged.hugepage_limits.extend(pages.values())
    return merged
