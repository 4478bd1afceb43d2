"""One adjustment of a new container out of those of all plugins, each of which sees the container as those before it
have made it."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, MutableSequence
from typing import Any

from core.api import nri_types_pb2 as types
from core.nri.claims import Claims
from core.nri.limits import set_limits
from core.nri.owners import Owners

_LINUX = {
    "cgroups_path": types.CgroupsPath,
    "oom_score_adj": types.OomScoreAdj,
    "io_priority": types.IoPriority,
    "seccomp_policy": types.SeccompPolicy,
    "scheduler": types.LinuxSched,
    "memory_policy": types.MemoryPolicy,
}
_RDT = {
    "clos_id": types.RdtClosID,
    "schemata": types.RdtSchemata,
    "enable_monitoring": types.RdtEnableMonitoring,
}
_REMOVAL = "-"


class Adjustments:
    """`container` changes with each plugin; `merged` is what all of them want."""

    def __init__(self, container: types.Container, owners: Owners) -> None:
        self.merged = types.ContainerAdjustment()
        self._container = container
        self._owners = owners

    def add(self, asked: types.ContainerAdjustment, plugin: str) -> None:
        """Raises FailedPrecondition when it contradicts that of another plugin."""
        claims, merged, seen = Claims(self._owners, self._container.id, plugin), self.merged, self._container
        _map(claims, types.Annotations, asked.annotations, merged.annotations, seen.annotations)
        _entries(claims, (types.Mounts, "destination"), asked.mounts, merged.mounts, seen.mounts)
        self._add_environment(claims, asked.env)
        self._add_args(claims, list(asked.args))
        self._add_hooks(claims, asked.hooks)
        _entries(claims, (types.Rlimits, "type"), asked.rlimits, merged.rlimits, seen.rlimits)
        for device in asked.CDI_devices:
            claims.one(types.CdiDevices, device.name)
        merged.CDI_devices.extend(asked.CDI_devices)
        if asked.HasField("linux"):
            self._add_linux(claims, asked.linux)

    def _add_linux(self, claims: Claims, asked: types.LinuxContainerAdjustment) -> None:
        merged, seen = self.merged.linux, self._container.linux
        _entries(claims, (types.Devices, "path"), asked.devices, merged.devices, seen.devices)
        _entries(claims, (types.Namespace, "type"), asked.namespaces, merged.namespaces, seen.namespaces)
        _map(claims, types.Sysctl, asked.sysctl, merged.sysctl, seen.sysctl)
        _map(claims, types.LinuxNetDevices, asked.net_devices, merged.net_devices, seen.net_devices)
        claims.fields(asked, _LINUX, merged, seen)
        if asked.HasField("resources"):
            set_limits(claims, asked.resources, merged.resources, seen.resources)
        if asked.HasField("rdt"):
            self._add_rdt(claims, asked.rdt)

    def _add_rdt(self, claims: Claims, asked: types.LinuxRdt) -> None:
        if asked.remove:
            for field in _RDT.values():
                claims.clear(field)
            self.merged.linux.rdt.CopyFrom(types.LinuxRdt(remove=True))
            self._container.linux.ClearField("rdt")
        claims.fields(asked, _RDT, self.merged.linux.rdt, self._container.linux.rdt)

    def _add_environment(self, claims: Claims, asked: Iterable[types.KeyValue]) -> None:
        """As all entries with names; only that the container has them as one string each."""
        asked = list(asked)
        _entries(claims, (types.Env, "key"), asked, self.merged.env, [])
        touched = {one.key.removeprefix(_REMOVAL) for one in asked}
        kept = [pair for pair in self._container.env if pair.partition("=")[0] not in touched]
        added = [f"{one.key}={one.value}" for one in asked if not one.key.startswith(_REMOVAL)]
        self._container.env[:] = [*kept, *added]

    def _add_args(self, claims: Claims, asked: list[str]) -> None:
        if asked and not asked[0]:
            claims.clear(types.Args)
            asked = asked[1:]
        if asked:
            claims.one(types.Args)
            self.merged.args[:] = self._container.args[:] = asked

    def _add_hooks(self, claims: Claims, asked: types.Hooks) -> None:
        """Hooks of all plugins run, in their order."""
        if asked.ListFields():
            claims.note(types.OciHooks)
            self.merged.hooks.MergeFrom(asked)
            self._container.hooks.MergeFrom(asked)


def _map(
    claims: Claims,
    field: types.Field,
    asked: MutableMapping[str, Any],
    merged: MutableMapping[str, Any],
    seen: MutableMapping[str, Any],
) -> None:
    for key in asked:
        if key.startswith(_REMOVAL):
            name = key.removeprefix(_REMOVAL)
            claims.clear(field, name)
            merged.pop(name, None)
            seen.pop(name, None)
            _put(merged, key, asked[key])
    for key in asked:
        if not key.startswith(_REMOVAL):
            claims.one(field, key)
            for target in (merged, seen):
                _put(target, key, asked[key])


def _put(target: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Maps of messages cannot be assigned to."""
    if isinstance(value, str):
        target[key] = value
    else:
        target[key].CopyFrom(value)


def _entries(
    claims: Claims,
    named: tuple[types.Field, str],
    asked: Iterable[Any],
    merged: MutableSequence[Any],
    seen: MutableSequence[Any],
) -> None:
    """A list of things with a name in `key`. What somebody else has added gives way to a removal, and so can be set."""
    field, key = named
    asked = list(asked)
    added = [one for one in asked if not getattr(one, key).startswith(_REMOVAL)]
    removals = {name: one for one in asked if (name := getattr(one, key)).startswith(_REMOVAL)}
    removed = {name.removeprefix(_REMOVAL) for name in removals}
    for name in removed:
        claims.clear(field, name)
    for one in added:
        claims.one(field, getattr(one, key))
    gone = removed | {getattr(one, key) for one in added}
    _replace(merged, [one for one in merged if getattr(one, key).removeprefix(_REMOVAL) not in gone])
    merged.extend([*removals.values(), *added])
    _replace(seen, [one for one in seen if getattr(one, key) not in gone])
    seen.extend(added)


def _replace(target: MutableSequence[Any], kept: list[Any]) -> None:
    if len(kept) != len(target):
        copies = [type(one).FromString(one.SerializeToString()) for one in kept]  # they live as long as the list
        del target[:]
        target.extend(copies)
