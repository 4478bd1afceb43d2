"""Devices of a container: their nodes, and the rules of the device cgroup."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from core.errdefs import InvalidArgument
from core.oci.runtime import Device, DeviceRule

DENY_ALL = DeviceRule(allow=False, access="rwm")
ALLOW_ALL = DeviceRule(allow=True, access="rwm")

_OF_EVERY_CONTAINER = {
    f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "console", "ptmx")
}
"""The OCI runtime makes these (runtime-spec, config-linux.md, Default Devices)."""
_OWN_MOUNTS = {"/dev/pts", "/dev/shm", "/dev/mqueue"}  # noqa: S108 - a container has its own there
_MODE_OF_NODE = 0o7777


def device(host_path: str, container_path: str) -> Device:
    """The node's device `host_path`, links followed, to be made at `container_path`. Raises InvalidArgument."""
    try:
        found = os.stat(host_path)
    except (OSError, ValueError) as exc:
        raise InvalidArgument(f"device {host_path[:160]!r}: {exc}") from exc
    if not is_device(found.st_mode):
        raise InvalidArgument(f"device {host_path[:160]!r}: not a device")
    return _node(container_path, found)


def devices_below(host_path: str, container_path: str) -> list[Device]:
    """The device `host_path`, or all below it when it is a directory, as drivers have them: /dev/snd, /dev/infiniband.

    Raises InvalidArgument, also for a directory without any.
    """
    if not os.path.isdir(host_path):
        return [device(host_path, container_path)]
    found = [_node(container_path + path.removeprefix(host_path), status) for path, status in _walk(host_path)]
    if not found:
        raise InvalidArgument(f"device {host_path[:160]!r}: a directory without devices")
    return found


def node_devices(directory: str = "/dev") -> list[Device]:
    """The node's devices, for a privileged container, without those that every container has."""
    return [_node(path, found) for path, found in _walk(directory) if path not in _OF_EVERY_CONTAINER]


def allow(node: Device, access: str) -> DeviceRule:
    """Raises InvalidArgument unless `access` is of r, w and m (man 7 cgroups, devices)."""
    if not access or set(access) - set("rwm"):
        raise InvalidArgument(f"device {node['path']}: permissions {access[:16]!r} are of r, w and m")
    return DeviceRule(allow=True, type=node["type"], major=node["major"], minor=node["minor"], access=access)


def is_device(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _walk(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Devices below `directory`, links not followed, in order of path. Of what vanishes meanwhile nothing is said."""
    for place, names, files in os.walk(directory):
        names[:] = sorted(name for name in names if os.path.join(place, name) not in _OWN_MOUNTS)
        for path in (os.path.join(place, name) for name in sorted(files)):
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue
            if is_device(found.st_mode):
                yield path, found


def _node(path: str, found: os.stat_result) -> Device:
    return Device(
        path=path,
        type="c" if stat.S_ISCHR(found.st_mode) else "b",
        major=os.major(found.st_rdev),
        minor=os.minor(found.st_rdev),
        fileMode=found.st_mode & _MODE_OF_NODE,
        uid=found.st_uid,
        gid=found.st_gid,
    )
