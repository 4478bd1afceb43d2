"""Limits: as OCI has them, as CRI has them, as NRI has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.api.nri_types_pb2 import HugepageLimit, LinuxCPU, LinuxDeviceCgroup, LinuxMemory, LinuxResources
from cri import api

MEMORY = {
    "limit": "limit",
    "reservation": "reservation",
    "swap": "swap",
    "kernel": "kernel",
    "kernel_tcp": "kernelTCP",
    "swappiness": "swappiness",
    "disable_oom_killer": "disableOOMKiller",
    "use_hierarchy": "useHierarchy",
}
CPU = {
    "shares": "shares",
    "quota": "quota",
    "period": "period",
    "realtime_runtime": "realtimeRuntime",
    "realtime_period": "realtimePeriod",
}
SETS = ("cpus", "mems")
_OF_CRI = {
    "cpu_shares": ("cpu", "shares"),
    "cpu_quota": ("cpu", "quota"),
    "cpu_period": ("cpu", "period"),
    "memory_limit_in_bytes": ("memory", "limit"),
    "memory_swap_limit_in_bytes": ("memory", "swap"),
}


def from_oci(resources: Mapping[str, Any]) -> LinuxResources:
    """The `linux.resources` of an OCI spec."""
    message = LinuxResources(unified=resources.get("unified", {}))
    for part, names in (("memory", MEMORY), ("cpu", CPU)):
        for name, key in names.items():
            if key in resources.get(part, {}):
                getattr(getattr(message, part), name).value = resources[part][key]
    for name in SETS:
        if numbers := resources.get("cpu", {}).get(name):
            setattr(message.cpu, name, numbers)
    for page in resources.get("hugepageLimits", []):
        message.hugepage_limits.append(HugepageLimit(page_size=page["pageSize"], limit=page["limit"]))
    for rule in resources.get("devices", []):
        message.devices.append(_rule(rule))
    if "pids" in resources:
        message.pids.limit = resources["pids"]["limit"]
    return message


def _rule(rule: Mapping[str, Any]) -> LinuxDeviceCgroup:
    message = LinuxDeviceCgroup(allow=rule["allow"], type=rule.get("type", ""), access=rule.get("access", ""))
    for name in ("major", "minor"):
        if name in rule:
            getattr(message, name).value = rule[name]
    return message


def to_oci(limits: LinuxResources) -> dict[str, Any]:
    """What is set, without devices and classes."""
    cpu = {name: value for name in SETS if (value := getattr(limits.cpu, name))}
    document: dict[str, Any] = {
        "memory": _numbers(limits.memory, MEMORY),
        "cpu": {**_numbers(limits.cpu, CPU), **cpu},
        "unified": dict(limits.unified),
    }
    document["hugepageLimits"] = [{"pageSize": one.page_size, "limit": one.limit} for one in limits.hugepage_limits]
    if limits.HasField("pids"):
        document["pids"] = {"limit": limits.pids.limit}
    return {part: value for part, value in document.items() if value}


def _numbers(part: LinuxMemory | LinuxCPU, names: Mapping[str, str]) -> dict[str, Any]:
    return {key: getattr(part, name).value for name, key in names.items() if part.HasField(name)}


def from_cri(resources: api.LinuxContainerResources) -> LinuxResources:
    """What is set; CRI cannot set anything to zero."""
    message = LinuxResources(unified=resources.unified)
    for field, (part, name) in _OF_CRI.items():
        if value := getattr(resources, field):
            getattr(getattr(message, part), name).value = value
    for name in SETS:
        if numbers := getattr(resources, f"cpuset_{name}"):
            setattr(message.cpu, name, numbers)
    for page in resources.hugepage_limits:
        message.hugepage_limits.append(HugepageLimit(page_size=page.page_size, limit=page.limit))
    return message


def to_cri(limits: LinuxResources, asked: api.LinuxContainerResources) -> api.LinuxContainerResources:
    """What CRI has of `limits`, over what was `asked` for."""
    found = api.LinuxContainerResources()
    found.CopyFrom(asked)
    for field, (part, name) in _OF_CRI.items():
        if getattr(limits, part).HasField(name):
            setattr(found, field, getattr(getattr(limits, part), name).value)
    found.cpuset_cpus = limits.cpu.cpus or asked.cpuset_cpus
    found.cpuset_mems = limits.cpu.mems or asked.cpuset_mems
    del found.hugepage_limits[:]
    found.hugepage_limits.extend(
        api.HugepageLimit(page_size=page.page_size, limit=page.limit) for page in limits.hugepage_limits
    )
    found.unified.update(limits.unified)
    return found


def beyond_cri(limits: LinuxResources) -> dict[str, Any]:
    """What CRI has not, as OCI has it."""
    document = to_oci(limits)
    of_cri = {(part, name) for part, name in _OF_CRI.values()}
    memory = {key: value for key, value in document.get("memory", {}).items() if ("memory", key) not in of_cri}
    cpu = {key: value for key, value in document.get("cpu", {}).items() if ("cpu", key) not in of_cri}
    rest = {"memory": memory, "cpu": {key: cpu[key] for key in cpu if key not in SETS}, "pids": document.get("pids")}
    return {part: value for part, value in rest.items() if value}
