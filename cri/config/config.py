"""The configuration: what can be set, what it means, and what holds when nothing is set."""

from __future__ import annotations

import shutil
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from core.images.verification import Verdict
from core.shims.foreign import binary_name

SHIM_TYPE = "io.containerd.crisp.v1"
_RUNC_FAMILY = "io.containerd.runc."


class Grpc(Struct, frozen=True, forbid_unknown_fields=True):
    """CRI's socket: 0660, root."""

    address: Annotated[str, Meta(description="unix socket of the kubelet's endpoint")] = "/run/crisp/crisp.sock"


class Streaming(Struct, frozen=True, forbid_unknown_fields=True):
    """exec, attach and port-forward: loopback only unless told otherwise."""

    address: Annotated[str, Meta(description="address that the streaming server listens on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0: any free port")] = 0
    tls_cert: Annotated[str, Meta(description="PEM file; empty: no TLS. Read again when it changes")] = ""
    tls_key: Annotated[str, Meta(description="PEM file of the certificate's key")] = ""
    idle_timeout: Annotated[float, Meta(gt=0, description="seconds without a byte after which a client is dropped")] = (
        14400.0
    )


class Metrics(Struct, frozen=True, forbid_unknown_fields=True):
    address: Annotated[str, Meta(description="host:port of the Prometheus endpoint; empty: off")] = ""


class RegistryConfig(Struct, frozen=True, forbid_unknown_fields=True):
    config_path: Annotated[str, Meta(description="directory of <host>/hosts.toml, containerd's layout")] = (
        "/etc/crisp/certs.d"
    )
    auth_file: Annotated[
        str, Meta(description="the node's credentials for registries and mirrors, Docker's config.json; empty: none")
    ] = ""


class Images(Struct, frozen=True, forbid_unknown_fields=True):
    max_concurrent_downloads: Annotated[int, Meta(ge=1, description="layers fetched at once, per pull")] = 3
    max_concurrent_ranges: Annotated[
        int, Meta(ge=1, description="ranges of a large layer fetched at once while its registry is slow; 1: never")
    ] = 4
    pinned: Annotated[list[str], Meta(description="images that the kubelet must not remove; * matches anything")] = (
        field(default_factory=list)
    )
    foreign_layer_hosts: Annotated[
        list[str], Meta(description="where layers may be for which a manifest has `urls`; * matches anything")
    ] = field(default_factory=list)
    policy: Annotated[
        dict[str, Verdict],
        Meta(description="accept, reject or verify by host, host/path or a path above; '' is for all others"),
    ] = field(default_factory=dict)
    verifier_dir: Annotated[
        str, Meta(description="programs that must all agree to what is to be verified, called as containerd's")
    ] = "/opt/crisp/image-verifier/bin"


class Cni(Struct, frozen=True, forbid_unknown_fields=True):
    conf_dir: Annotated[str, Meta(description="where the network is configured; watched")] = "/etc/cni/net.d"
    bin_dirs: Annotated[list[str], Meta(description="where plugins are, searched in order")] = field(
        default_factory=lambda: ["/opt/cni/bin", "/usr/lib/cni"]
    )
    max_networks: Annotated[
        int, Meta(ge=1, description="how many of conf_dir's configurations each pod is attached to: eth0, eth1, …")
    ] = 1
    conf_template: Annotated[
        str, Meta(description="Go template of a conflist, filled in with the node's pod CIDR where conf_dir has none")
    ] = ""
    builtin: Annotated[
        bool, Meta(description="embedded bridge network while conf_dir has none; a cluster's node leaves this false")
    ] = False
    bridge: Annotated[str, Meta(description="name of the embedded network's bridge", min_length=1, max_length=15)] = (
        "crisp0"
    )
    subnet: Annotated[str, Meta(description="the embedded network's addresses")] = "10.88.0.0/16"


class Runtime(Struct, frozen=True, forbid_unknown_fields=True):
    """One runtime handler."""

    type: Annotated[str, Meta(description="the shim; one that is not ours is a name like io.containerd.runc.v2")] = (
        SHIM_TYPE
    )
    shim: Annotated[str, Meta(description="its binary; empty: found on PATH by the type's name")] = ""
    binary: Annotated[str, Meta(description="the OCI runtime; empty: found on PATH by the handler's name")] = ""
    systemd_cgroup: Annotated[bool, Meta(description="cgroups by systemd instead of cgroupfs")] = False
    snapshotter: Annotated[
        Literal["overlayfs", "native"],
        Meta(description="what images are unpacked in for its containers; native: copies, for any filesystem and VM"),
    ] = "overlayfs"
    infra_image: Annotated[str, Meta(description="set: sandboxes with a pause container of this image")] = ""
    pod_annotations: Annotated[
        list[str], Meta(description="annotations of pods and containers that reach the OCI spec; * matches anything")
    ] = field(default_factory=list)
    device_ownership_from_security_context: Annotated[
        bool, Meta(description="devices belong to the container's user instead of the node's owner")
    ] = False
    strict_host_paths: Annotated[
        bool, Meta(description="refuse a volume whose path is missing on the node, instead of making a directory")
    ] = False
    shm_size: Annotated[
        str, Meta(pattern="^[1-9][0-9]{0,14}([KMGT]i|[kMGT])?$", description="of each pod's /dev/shm")
    ] = "64Mi"
    ulimits: Annotated[list[str], Meta(description="of every container's process, like nofile=1024:4096")] = field(
        default_factory=list
    )


class Cdi(Struct, frozen=True, forbid_unknown_fields=True):
    spec_dirs: Annotated[list[str], Meta(description="where vendors describe devices; the last one counts most")] = (
        field(default_factory=lambda: ["/etc/cdi", "/var/run/cdi"])
    )


class Blockio(Struct, frozen=True, forbid_unknown_fields=True):
    class_file: Annotated[
        str, Meta(description="YAML file of block I/O classes that pods may name, goresctrl's layout; empty: none")
    ] = ""


class Nri(Struct, frozen=True, forbid_unknown_fields=True):
    socket: Annotated[str, Meta(description="where NRI plugins connect")] = "/var/run/nri/nri.sock"
    enable: Annotated[bool, Meta(description="serve NRI")] = True
    plugin_dir: Annotated[str, Meta(description="plugins that crispd starts itself, named like 10-name")] = (
        "/opt/nri/plugins"
    )
    config_dir: Annotated[str, Meta(description="what those are configured with, in 10-name.conf or name.conf")] = (
        "/etc/nri/conf.d"
    )
    registration_timeout: Annotated[
        float, Meta(gt=0, description="seconds that a plugin has to register, and to take in what runs")
    ] = 5.0
    request_timeout: Annotated[
        float, Meta(gt=0, description="seconds that a plugin has for each request; then it is dropped")
    ] = 2.0


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")] = (
        "info"
    )
    format: Annotated[str, Meta(pattern="^(text|json)$", description="text or json")] = "text"


class Tracing(Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: Annotated[
        str,
        Meta(
            pattern="^(https?://.+)?$",
            description="takes spans by OTLP over HTTP, http://127.0.0.1:4318/v1/traces; empty: off",
        ),
    ] = ""
    sample: Annotated[
        float, Meta(ge=0, le=1, description="share of calls that are exported though no trace of the kubelet's asks it")
    ] = 0.0


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1, le=1, description="of this file's layout")] = 1
    root: Annotated[str, Meta(pattern="^/", description="what outlives a reboot: images, snapshots, records")] = (
        "/var/lib/crisp"
    )
    state: Annotated[str, Meta(pattern="^/", description="what does not: sockets, bundles, pinned namespaces")] = (
        "/run/crisp"
    )
    log: Log = Log()
    grpc: Grpc = Grpc()
    streaming: Streaming = Streaming()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    registry: RegistryConfig = RegistryConfig()
    images: Images = field(default_factory=Images)
    cni: Cni = field(default_factory=Cni)
    runtimes: Annotated[
        dict[str, str | Runtime], Meta(description="handlers by name; `default` names one, else crun or runc")
    ] = field(default_factory=dict)
    cdi: Cdi = field(default_factory=Cdi)
    blockio: Blockio = Blockio()
    nri: Nri = Nri()

    def handlers(self) -> dict[str, Runtime]:
        """All handlers by name, binaries resolved; crun and runc are there without being configured."""
        configured = {name: runtime for name, runtime in self.runtimes.items() if isinstance(runtime, Runtime)}
        found = {name: Runtime() for name in ("crun", "runc") if shutil.which(name)}
        if not found and not configured:
            found["crun"] = Runtime()  # a node that lacks one says so in its status, and ends the pods that it has
        return {name: _resolved(name, runtime) for name, runtime in {**found, **configured}.items()}

    def default_handler(self) -> str:
        """The handler of pods that name none: `runtimes.default`, else the first of crun and runc that is there."""
        named = self.runtimes.get("default")
        return named if isinstance(named, str) else next(iter(self.handlers()), "crun")


def _resolved(name: str, runtime: Runtime) -> Runtime:
    if runtime.type != SHIM_TYPE:
        return _resolved_foreign(runtime)
    return msgspec.structs.replace(runtime, binary=_on_path(runtime.binary or name))


def _resolved_foreign(runtime: Runtime) -> Runtime:
    """Other shims bring what they run, but for those of the runc family, which are told."""
    binary = runtime.binary or ("runc" if runtime.type.startswith(_RUNC_FAMILY) else "")
    return msgspec.structs.replace(
        runtime,
        shim=_on_path(runtime.shim or binary_name(runtime.type)),
        binary=_on_path(binary) if binary else "",
    )


def _on_path(name: str) -> str:
    return shutil.which(name) or (name if name.startswith("/") else f"/usr/bin/{name}")
