"""Limits of a container that plugins set, one by one."""

from __future__ import annotations

from collections.abc import Mapping

from core.api import nri_types_pb2 as types
from core.nri.claims import Claims

MEMORY: Mapping[str, types.Field] = {
    "limit": types.MemLimit,
    "reservation": types.MemReservation,
    "swap": types.MemSwapLimit,
    "kernel": types.MemKernelLimit,
    "kernel_tcp": types.MemTCPLimit,
    "swappiness": types.MemSwappiness,
    "disable_oom_killer": types.MemDisableOomKiller,
    "use_hierarchy": types.MemUseHierarchy,
}
CPU: Mapping[str, types.Field] = {
    "shares": types.CPUShares,
    "quota": types.CPUQuota,
    "period": types.CPUPeriod,
    "realtime_runtime": types.CPURealtimeRuntime,
    "realtime_period": types.CPURealtimePeriod,
    "cpus": types.CPUSetCPUs,
    "mems": types.CPUSetMems,
}
_CLASSES: Mapping[str, types.Field] = {
    "blockio_class": types.BlockioClass,
    "rdt_class": types.RdtClass,
    "pids": types.PidsLimit,
}


def set_limits(claims: Claims, asked: types.LinuxResources, *targets: types.LinuxResources) -> None:
    """Put the limits of `asked` into `targets`. Raises FailedPrecondition."""
    claims.fields(asked.memory, MEMORY, *(target.memory for target in targets))
    claims.fields(asked.cpu, CPU, *(target.cpu for target in targets))
    claims.fields(asked, _CLASSES, *targets)
    for page in asked.hugepage_limits:
        claims.one(types.HugepageLimits, page.page_size)
    for name in asked.unified:
        claims.one(types.CgroupsUnified, name)
    for target in targets:
        kept = [page for page in target.hugepage_limits if page.page_size not in _sizes(asked)]
        del target.hugepage_limits[:]
        target.hugepage_limits.extend([*kept, *asked.hugepage_limits])
        target.unified.update(asked.unified)
        target.devices.extend(asked.devices)


def _sizes(resources: types.LinuxResources) -> set[str]:
    return {page.page_size for page in resources.hugepage_limits}
