"""Seccomp, AppArmor, SELinux, masked and read-only paths."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core.errdefs import InvalidArgument
from core.oci import paths
from core.oci.seccomp import runtime_default
from core.oci.seccomp_file import localhost
from cri import api
from cri.container.spec.process import granted_capabilities
from cri.container.spec.source import Source
from cri.container.spec.text import kernel_texts

_PREFIX = "localhost/"


def seccomp_profile(source: Source) -> msgspec.Raw | None:
    """The profile's document, None for unconfined. A privileged container is never confined (CRI: privileged)."""
    security = source.security
    if security.privileged:
        return None
    kind, path = _wanted(security)
    if kind == api.SecurityProfile.ProfileType.RuntimeDefault:
        return runtime_default(granted_capabilities(source))
    return localhost(path) if kind == api.SecurityProfile.ProfileType.Localhost else None


def _wanted(security: api.LinuxContainerSecurityContext) -> tuple[int, str]:
    """Kind and path; the deprecated string counts when the new field is absent."""
    kinds = api.SecurityProfile.ProfileType
    if security.HasField("seccomp"):
        _check_kind(security.seccomp, "seccomp")
        return security.seccomp.profile_type, security.seccomp.localhost_ref
    old = security.seccomp_profile_path
    if old in ("", "unconfined"):
        return kinds.Unconfined, ""
    if old in ("runtime/default", "docker/default"):
        return kinds.RuntimeDefault, ""
    if old.startswith(_PREFIX):
        return kinds.Localhost, old.removeprefix(_PREFIX)
    raise InvalidArgument(f"seccomp_profile_path {old[:160]!r}: want runtime/default, unconfined or localhost/<path>")


def _check_kind(profile: api.SecurityProfile, field: str) -> None:
    """A kind of a later CRI must not come out as no profile at all."""
    if profile.profile_type not in api.SecurityProfile.ProfileType.values():
        raise InvalidArgument(f"{field}.profile_type {profile.profile_type} is not known")


def apparmor_profile(source: Source) -> str:
    """Name of the profile, "" for none. Raises InvalidArgument for one that this node cannot apply."""
    security = source.security
    if security.privileged:
        return ""
    if security.HasField("apparmor"):
        _check_kind(security.apparmor, "apparmor")
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
        return ""  # has nothing to act on; charts set levels and types whatever the node, and both peers let them
    user, role, kind = options.user or "system_u", options.role or "system_r", options.type or "container_t"
    return f"{user}:{role}:{kind}:{options.level or 's0'}"


def masked_paths(source: Source) -> list[str]:
    """Paths hidden from the container: the default ones and what the kubelet adds."""
    return _hidden(source, source.security.masked_paths, paths.MASKED)


def readonly_paths(source: Source) -> list[str]:
    return _hidden(source, source.security.readonly_paths, paths.READONLY)


def _hidden(source: Source, asked: Iterable[str], default: tuple[str, ...]) -> list[str]:
    """CRI cannot tell "none" (procMount: Unmasked) from "nothing said". Kubernetes allows none only to pods with a user
    namespace of their own (KEP-4265), so to others the default always applies (GHSA-7ww5-4wqc-m92c)."""
    if source.security.privileged:
        return []
    wanted = kernel_texts(asked, "masked_paths and readonly_paths")
    if not wanted and "user" in source.pod.sandbox.namespaces:
        return []
    return paths.with_defaults(wanted, default)
