"""What NRI plugins change in a container's OCI spec, when it has been built and before it has a record.

Plugins are as trusted as crispd: they may make a container more powerful than its pod asked for. Here is only refused
what could not be kept, so that nobody believes it was done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from core.api.nri_types_pb2 import (
    ContainerAdjustment,
    Hooks,
    KeyValue,
    LinuxContainerAdjustment,
    LinuxDevice,
    LinuxRdt,
    Mount,
)
from core.errdefs import InvalidArgument
from core.oci.devices import allow
from core.oci.rdt import rdt_of_class
from core.oci.runtime import Device
from core.oci.user import User
from cri.container.spec.cdi import inject_named
from cri.container.spec.classes import named_blockio
from cri.container.spec.mounts import in_order
from cri.container.spec.resources import has_controller, unified_files, with_limits
from cri.container.spec.source import Source
from cri.container.spec.text import kernel_text, kernel_texts
from cri.nri.limits import to_oci
from cri.nri.spec import HOOKS, hook_document, io_priority_document, scheduler_document, seccomp_document

_REMOVAL = "-"
_UNKNOWN = {"net_devices", "memory_policy"}
_ROOT_PROPAGATION = {"rshared": ("rshared",), "rslave": ("rshared", "rslave")}
"""What the root's must be one of, for a mount with such an option."""


def adjust(spec: Any, adjustment: ContainerAdjustment, source: Source, user: User) -> None:
    """Change the decoded config.json `spec`. Raises InvalidArgument for what this node cannot do."""
    process = spec["process"]
    _adjust_map(spec["annotations"], adjustment.annotations)
    process["env"] = _environment(process["env"], adjustment.env)
    if adjustment.args:
        process["args"] = kernel_texts(adjustment.args, "NRI args")
    _add_hooks(spec, adjustment.hooks)
    inject_named(spec, [one.name for one in adjustment.CDI_devices], source, user)
    _adjust_linux(spec, adjustment.linux, source)
    _adjust_mounts(spec, adjustment.mounts)
    limits = [{"type": one.type, "soft": one.soft, "hard": one.hard} for one in adjustment.rlimits]
    if limits:
        process["rlimits"] = list({one["type"]: one for one in [*process.get("rlimits", []), *limits]}.values())


def _adjust_linux(spec: Any, wanted: LinuxContainerAdjustment, source: Source) -> None:
    process, linux = spec["process"], spec["linux"]
    asked = {descriptor.name for descriptor, _ in wanted.ListFields()}
    for field in _UNKNOWN & asked:
        raise InvalidArgument(f"NRI adjustment {field}: this release cannot do it")
    _adjust_devices(linux, wanted.devices)
    if wanted.cgroups_path:
        linux["cgroupsPath"] = kernel_text(wanted.cgroups_path, "NRI cgroups_path")
    if wanted.HasField("oom_score_adj"):
        process["oomScoreAdj"] = max(wanted.oom_score_adj.value, source.facts.oom_score_floor)
    if wanted.HasField("io_priority"):
        process["ioPriority"] = io_priority_document(wanted.io_priority)
    if wanted.HasField("scheduler"):
        process["scheduler"] = scheduler_document(wanted.scheduler)
    if wanted.HasField("seccomp_policy"):
        linux["seccomp"] = seccomp_document(wanted.seccomp_policy)
    namespaces = {one["type"]: one for one in linux["namespaces"]}
    _adjust_map(namespaces, {one.type: one.path for one in wanted.namespaces}, _namespace)
    linux["namespaces"] = list(namespaces.values())
    if wanted.sysctl:
        _adjust_map(linux.setdefault("sysctl", {}), wanted.sysctl)
    _adjust_resources(linux, wanted, source)
    if wanted.HasField("rdt"):
        _adjust_rdt(linux, wanted.rdt)


def _adjust_resources(linux: Any, wanted: LinuxContainerAdjustment, source: Source) -> None:
    resources, layout = wanted.resources, source.facts.layout
    limits = to_oci(resources)
    if not has_controller(layout, "hugetlb"):
        limits.pop("hugepageLimits", None)
    if limits.get("unified"):
        limits["unified"] = unified_files(limits["unified"], layout)
    if "memory" in limits:
        _settle_swap(limits["memory"], counted=source.facts.swap)
    if resources.HasField("rdt_class"):
        _replace(linux, "intelRdt", rdt_of_class(name) if (name := resources.rdt_class.value) else {})
    linux["resources"] = with_limits(linux["resources"], limits)
    if resources.HasField("blockio_class"):
        name = resources.blockio_class.value
        _replace(linux["resources"], "blockIO", named_blockio(source, name) if name else {})
    for rule in resources.devices:
        numbers = {name: getattr(rule, name).value for name in ("major", "minor") if rule.HasField(name)}
        kind = {"type": rule.type} if rule.type else {}
        linux["resources"]["devices"].append({"allow": rule.allow, "access": rule.access, **kind, **numbers})


def _settle_swap(memory: dict[str, int], *, counted: bool) -> None:
    """As of CRI's limits: no swap unless it is asked for."""
    if not counted:
        memory.pop("swap", None)
    elif "limit" in memory:
        memory.setdefault("swap", memory["limit"])


def _adjust_rdt(linux: Any, wanted: LinuxRdt) -> None:
    rdt = {} if wanted.remove else dict(linux.get("intelRdt", {}))
    if wanted.clos_id.value:
        rdt["closID"] = wanted.clos_id.value
    if wanted.HasField("schemata"):
        rdt["schemata"] = list(wanted.schemata.value)
    if wanted.HasField("enable_monitoring"):
        rdt["enableMonitoring"] = wanted.enable_monitoring.value
    _replace(linux, "intelRdt", rdt)


def _replace(document: Any, key: str, value: Any) -> None:
    document.pop(key, None)
    if value:
        document[key] = value


def _adjust_devices(linux: Any, wanted: Iterable[LinuxDevice]) -> None:
    for one in wanted:
        path = one.path.removeprefix(_REMOVAL)
        linux["devices"] = [known for known in linux["devices"] if known["path"] != path]
        if one.path.startswith(_REMOVAL):
            continue
        made = Device(
            path=path,
            type=one.type,
            major=one.major,
            minor=one.minor,
            fileMode=one.file_mode.value if one.HasField("file_mode") else 0o666,
            uid=one.uid.value,
            gid=one.gid.value,
        )
        linux["devices"].append(made)
        linux["resources"]["devices"].append(allow(made, "rwm"))


def _adjust_mounts(spec: Any, wanted: Iterable[Mount]) -> None:
    mounts = {one["destination"]: one for one in spec["mounts"]}
    for one in wanted:
        if one.destination.startswith(_REMOVAL):
            mounts.pop(one.destination.removeprefix(_REMOVAL), None)
            continue
        for option, enough in _ROOT_PROPAGATION.items():
            if option in one.options and spec["linux"]["rootfsPropagation"] not in enough:
                spec["linux"]["rootfsPropagation"] = option
        mounts[one.destination] = {
            "destination": kernel_text(one.destination, "NRI mount"),
            "type": one.type or "bind",
            "source": kernel_text(one.source, f"NRI mount {one.destination[:160]!r}"),
            "options": kernel_texts(one.options, f"NRI mount {one.destination[:160]!r}"),
        }
    spec["mounts"] = in_order(mounts.values())


def _add_hooks(spec: Any, wanted: Hooks) -> None:
    for name, key in HOOKS.items():
        if hooks := getattr(wanted, name):
            spec.setdefault("hooks", {}).setdefault(key, []).extend(map(hook_document, hooks))


def _environment(pairs: Iterable[str], wanted: Iterable[KeyValue]) -> list[str]:
    variables = dict(pair.split("=", 1) for pair in pairs)
    for one in wanted:
        if one.key.startswith(_REMOVAL):
            variables.pop(one.key.removeprefix(_REMOVAL), None)
        else:
            variables[one.key] = one.value
    return kernel_texts((f"{key}={value}" for key, value in variables.items()), "NRI env")


def _adjust_map(target: Any, wanted: Any, make: Callable[[str, str], Any] = lambda _key, value: value) -> None:
    """Removals first: what is there twice is replaced."""
    for key in sorted(wanted, key=lambda key: not key.startswith(_REMOVAL)):
        if key.startswith(_REMOVAL):
            target.pop(key.removeprefix(_REMOVAL), None)
        else:
            target[key] = make(key, wanted[key])


def _namespace(kind: str, path: str) -> dict[str, str]:
    return {"type": kind, "path": path} if path else {"type": kind}
