"""Whether a RunPodSandbox request can be carried out, before anything is made."""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.errdefs import InvalidArgument
from core.sandbox.controller import NamespaceMode
from cri import api
from cri.user_namespace import user_namespace

MAX_HOSTNAME = 64
"""Bytes: __NEW_UTS_LEN, uname(2)."""
MAX_LABEL = 4096
"""Bytes of key and value together, as containerd limits labels: they are stored and listed with every reply."""

_SYSCTL = re.compile(r"[a-zA-Z0-9_-]+(?:[./][a-zA-Z0-9_:@-]+)+")
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")  # sysctl(8): per IPC namespace
_UTS_SYSCTLS = ("kernel.hostname", "kernel.domainname")
_MODES = {
    api.NamespaceMode.POD: NamespaceMode.POD,
    api.NamespaceMode.CONTAINER: NamespaceMode.CONTAINER,
    api.NamespaceMode.NODE: NamespaceMode.NODE,
    api.NamespaceMode.TARGET: NamespaceMode.TARGET,
}


def check_config(config: api.PodSandboxConfig) -> None:
    """Raises InvalidArgument that names the field."""
    if not config.HasField("metadata") or not config.metadata.name:
        raise InvalidArgument("sandbox config must include metadata with a name")
    for field in ("name", "namespace", "uid"):
        check_text(getattr(config.metadata, field), f"metadata.{field}")
    check_hostname(config.hostname)
    check_labels(config.labels, "labels")
    check_labels(config.annotations, "annotations", limit=None)
    for field in ("servers", "searches", "options"):
        for value in getattr(config.dns_config, field):
            check_text(value, f"dns_config.{field}")
    check_sysctls(config)
    options = config.linux.security_context.namespace_options
    for field in ("network", "ipc"):
        if getattr(options, field) not in (api.NamespaceMode.POD, api.NamespaceMode.NODE):
            raise InvalidArgument(f"namespace_options.{field}: a sandbox's is POD or NODE")
    if options.pid == api.NamespaceMode.TARGET:
        raise InvalidArgument("namespace_options.pid: TARGET is for containers")
    user_namespace(options)


def check_text(value: str, what: str) -> None:
    """No control characters: such values end up in files, paths, environments and logs."""
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):
        raise InvalidArgument(f"{what} {value[:160]!r} has a control character")


def check_hostname(hostname: str) -> None:
    check_text(hostname, "hostname")
    if len(hostname.encode()) > MAX_HOSTNAME or "/" in hostname or " " in hostname:
        raise InvalidArgument(f"hostname {hostname[:160]!r}: want at most {MAX_HOSTNAME} bytes, no slash, no space")


def check_labels(labels: Mapping[str, str], what: str, limit: int | None = MAX_LABEL) -> None:
    for key, value in labels.items():
        if limit is not None and len(key.encode()) + len(value.encode()) > limit:
            raise InvalidArgument(f"{what}[{key[:64]!r}]: key and value together exceed {limit} bytes")


def check_sysctls(config: api.PodSandboxConfig) -> None:
    """Each sysctl must belong to a namespace that the pod has of its own (hazards CVE-2022-0811)."""
    options = config.linux.security_context.namespace_options
    for key, value in config.linux.sysctls.items():
        check_text(value, f"sysctls[{key[:64]!r}]")
        name = key.replace("/", ".")
        if not _SYSCTL.fullmatch(key) or ".." in name or value != value.strip():
            raise InvalidArgument(f"sysctls[{key[:64]!r}]: malformed name, or value with spaces around it")
        if not _namespaced(name, options):
            raise InvalidArgument(f"sysctls[{key[:64]!r}] does not belong to a namespace of this pod's own")


def _namespaced(name: str, options: api.NamespaceOption) -> bool:
    if name.startswith("net."):
        return options.network == api.NamespaceMode.POD
    if name.startswith(_IPC_SYSCTLS):
        return options.ipc == api.NamespaceMode.POD
    return name in _UTS_SYSCTLS and options.network == api.NamespaceMode.POD


def namespace_mode(mode: api.NamespaceMode) -> NamespaceMode:
    return _MODES[mode]
