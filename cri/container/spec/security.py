"""Seccomp, AppArmor, SELinux, masked and read-only paths."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core.errdefs import InvalidArgument
from core.log import get_logger
from core.oci import apparmor, paths
from core.oci.seccomp import runtime_default
from core.oci.seccomp_file import localhost
from cri import api
from cri.container.spec.process import granted_capabilities
from cri.container.spec.source import Source
from cri.container.spec.text import kernel_texts

log = get_logger(__name__)

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
    """Name of the profile, "" for none: of a privileged container, or one that says nothing where the default profile
    is not loaded. Raises InvalidArgument for a profile that this node cannot apply: never is one left out."""
    if source.security.privileged:
        return ""
    kind, name = _wanted_apparmor(source.security)
    if kind == api.SecurityProfile.ProfileType.Unconfined:
        return apparmor.UNCONFINED if source.facts.apparmor else ""
    loaded = apparmor.loaded() if source.facts.apparmor else frozenset()
    if kind is None:
        return apparmor.DEFAULT if apparmor.DEFAULT in loaded else ""
    if not source.facts.apparmor:
        raise InvalidArgument(f"AppArmor profile {name[:160]!r}: this node's kernel has no AppArmor")
    if name not in loaded:
        remedy = "install the package apparmor and restart crispd" if name == apparmor.DEFAULT else "load it first"
        raise InvalidArgument(f"AppArmor profile {name[:160]!r} is not loaded: {remedy}")
    return name


def _wanted_apparmor(security: api.LinuxContainerSecurityContext) -> tuple[int | None, str]:
    """Kind and name, None when nothing is said; the deprecated string counts when the new field is absent."""
    kinds = api.SecurityProfile.ProfileType
    if security.HasField("apparmor"):
        _check_kind(security.apparmor, "apparmor")
        kind, local = security.apparmor.profile_type, security.apparmor.localhost_ref
        return kind, local if kind == kinds.Localhost else apparmor.DEFAULT
    old = security.apparmor_profile
    if not old:
        return None, ""
    if old == "unconfined":
        return kinds.Unconfined, ""
    if old == "runtime/default":
        return kinds.RuntimeDefault, apparmor.DEFAULT
    if old.startswith(_PREFIX):
        return kinds.Localhost, old.removeprefix(_PREFIX)
    raise InvalidArgument(f"apparmor_profile {old[:160]!r}: want runtime/default, unconfined or localhost/<name>")


def selinux_label(source: Source) -> str:
    """The process label, "" for none. Raises InvalidArgument for one that this node cannot apply."""
    options = source.security.selinux_options
    if not any((options.user, options.role, options.type, options.level)) or source.security.privileged:
        return ""
    if not source.facts.selinux:
        # They have nothing to act on. Charts set levels and types whatever the node, and both peers let them.
        log.info("SELinux options left out: this node's kernel has none", container_id=source.container_id)
        return ""
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
