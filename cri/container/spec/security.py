"""Seccomp, AppArmor, SELinux, masked paths and devices."""

from __future__ import annotations

import os
import stat

import msgspec

from core.errdefs import InvalidArgument
from core.oci import seccomp
from cri import api
from cri.container.spec.process import granted_capabilities
from cri.container.spec.source import Document, Source

_PREFIX = "localhost/"
_ALL_DEVICES = {"allow": True, "access": "rwm"}


def seccomp_profile(source: Source) -> msgspec.Raw | None:
    """The profile's document, None for unconfined. A privileged container is never confined (CRI: privileged)."""
    security = source.security
    if security.privileged:
        return None
    kind, path = _wanted(security)
    if kind == api.SecurityProfile.ProfileType.RuntimeDefault:
        return seccomp.runtime_default(granted_capabilities(source))
    return seccomp.localhost(path) if kind == api.SecurityProfile.ProfileType.Localhost else None


def _wanted(security: api.LinuxContainerSecurityContext) -> tuple[int, str]:
    """Kind and path; the deprecated string counts when the new field is absent."""
    kinds = api.SecurityProfile.ProfileType
    if security.HasField("seccomp"):
        return security.seccomp.profile_type, security.seccomp.localhost_ref
    old = security.seccomp_profile_path
    if old in ("", "unconfined"):
        return kinds.Unconfined, ""
    if old in ("runtime/default", "docker/default"):
        return kinds.RuntimeDefault, ""
    if old.startswith(_PREFIX):
        return kinds.Localhost, old.removeprefix(_PREFIX)
    raise InvalidArgument(f"seccomp_profile_path {old[:160]!r}: want runtime/default, unconfined or localhost/<path>")


def apparmor_profile(source: Source) -> str:
    """Name of the profile, "" for none. Raises InvalidArgument for one that this node cannot apply."""
    security = source.security
    if security.privileged:
        return ""
    if security.HasField("apparmor"):
        kind, name = security.apparmor.profile_type, security.apparmor.localhost_ref
        local = kind == api.SecurityProfile.ProfileType.Localhost
    else:
        old = security.apparmor_profile
        local, name = old.startswith(_PREFIX), old.removeprefix(_PREFIX)
    if not local:
        return ""
    if not source.facts.apparmor:
        raise InvalidArgument(f"AppArmor profile {name[:160]!r}: this node's kernel has no AppArmor")
    if name not in _loaded_profiles():
        raise InvalidArgument(f"AppArmor profile {name[:160]!r} is not loaded: load it with apparmor_parser")
    return name


def _loaded_profiles() -> set[str]:
    with open("/sys/kernel/security/apparmor/profiles", encoding="utf-8") as file:
        return {line.rsplit(" ", 1)[0] for line in file}


def selinux_label(source: Source) -> str:
    """The process label, "" for none. Raises InvalidArgument for one that this node cannot apply."""
    options = source.security.selinux_options
    if not any((options.user, options.role, options.type, options.level)) or source.security.privileged:
        return ""
    if not source.facts.selinux:
        return ""  # as on every node without it: the label has nothing to act on
    user, role, kind = options.user or "system_u", options.role or "system_r", options.type or "container_t"
    return f"{user}:{role}:{kind}:{options.level or 's0'}"


def devices(source: Source) -> tuple[list[Document], list[Document]]:
    """Device nodes to make, and the rules of the device cgroup."""
    if source.security.privileged:
        return [_device(path, path) for path in sorted(_node_devices())], [_ALL_DEVICES]
    nodes, rules = [], [{"allow": False, "access": "rwm"}]
    for device in source.config.devices:
        node = _device(device.host_path, device.container_path)
        nodes.append(node)
        access = device.permissions or "rwm"
        if set(access) - set("rwm"):
            raise InvalidArgument(f"device {device.host_path}: permissions {access!r} are of r, w and m")
        rules.append(
            {"allow": True, "type": node["type"], "major": node["major"], "minor": node["minor"], "access": access}
        )
    return nodes, rules


def _device(host_path: str, container_path: str) -> Document:
    try:
        found = os.stat(host_path)
    except OSError as exc:
        raise InvalidArgument(f"device {host_path}: {exc.strerror}") from exc
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise InvalidArgument(f"device {host_path}: not a device")
    return {
        "path": container_path or host_path,
        "type": "c" if stat.S_ISCHR(found.st_mode) else "b",
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


_OWN_DEVICES = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console"}
"""The OCI runtime makes these (runtime-spec, config-linux.md, Default Devices)."""


_OWN_MOUNTS = {"/dev/pts", "/dev/shm", "/dev/mqueue"}  # noqa: S108 - names, not used as temporary files


def _node_devices() -> list[str]:
    """The node's devices, for a privileged container, without those that every container has."""
    found = []
    for directory, names, files in os.walk("/dev"):
        names[:] = [name for name in names if os.path.join(directory, name) not in _OWN_MOUNTS]
        paths = (os.path.join(directory, name) for name in files)
        found += [path for path in paths if path not in _OWN_DEVICES and _is_device(path)]
    return found


def _is_device(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
