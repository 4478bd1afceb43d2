"""Whether a RunPodSandbox request can be carried out, before anything is made."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from core.errdefs import InvalidArgument
from core.oci.cgroups import parent_group
from core.sandbox.controller import NamespaceMode
from cri import api
from cri.user_namespace import user_namespace

MAX_HOSTNAME = 64
"""Bytes: __NEW_UTS_LEN, uname(2)."""
MAX_LABEL = 4096
"""Bytes of key and value together, as containerd limits labels: they are stored and listed with every reply."""

MAX_PORT = 65535
PROTOCOLS = {api.Protocol.TCP: "tcp", api.Protocol.UDP: "udp", api.Protocol.SCTP: "sctp"}
"""Their names in network plugins."""

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
    check_ports(config.port_mappings)
    check_namespaces(config.linux.security_context.namespace_options)
    check_sysctls(config)
    parent_group(config.linux.cgroup_parent, systemd=False)


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


def check_ports(mappings: Iterable[api.PortMapping]) -> None:
    """What no packet filter could do, or only one way of two."""
    taken: dict[tuple[int, int, str], int] = {}
    for mapping in mappings:
        port = f"port_mappings: {mapping.host_port} to {mapping.container_port}"
        if mapping.protocol not in PROTOCOLS:
            raise InvalidArgument(f"{port}: protocol {mapping.protocol} is not known")
        if not (0 <= mapping.host_port <= MAX_PORT and 0 <= mapping.container_port <= MAX_PORT):
            raise InvalidArgument(f"{port}: want ports from 0 to {MAX_PORT}")
        if mapping.host_port and not mapping.container_port:
            raise InvalidArgument(f"{port}: want the port in the pod, too")
        if mapping.host_ip:
            _check_host_ip(mapping.host_ip, port)
        key = (mapping.protocol, mapping.host_port, mapping.host_ip)
        if mapping.host_port and taken.setdefault(key, mapping.container_port) != mapping.container_port:
            raise InvalidArgument(f"{port}: the host port leads to {taken[key]} already")


def _check_host_ip(address: str, port: str) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError as exc:
        raise InvalidArgument(f"{port}: host_ip {address[:80]!r} is no address") from exc


def check_namespaces(options: api.NamespaceOption) -> None:
    """What a sandbox may have of its own or of the node."""
    for field in ("network", "ipc"):
        if getattr(options, field) not in (api.NamespaceMode.POD, api.NamespaceMode.NODE):
            raise InvalidArgument(f"namespace_options.{field}: a sandbox's is POD or NODE")
    if options.pid not in (api.NamespaceMode.POD, api.NamespaceMode.CONTAINER, api.NamespaceMode.NODE):
        raise InvalidArgument("namespace_options.pid: a sandbox's is POD, CONTAINER or NODE")
    user_namespace(options)


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
