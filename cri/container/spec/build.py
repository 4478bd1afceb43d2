"""The OCI runtime spec of a container (runtime-spec, config.md), from everything that is known of it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core.errdefs import InvalidArgument
from core.oci.user import User
from cri.container.spec.annotations import spec_annotations
from cri.container.spec.mounts import mounts
from cri.container.spec.namespaces import namespaces
from cri.container.spec.process import process
from cri.container.spec.resources import resources
from cri.container.spec.security import apparmor_profile, devices, seccomp_profile, selinux_label
from cri.container.spec.source import Document, Source

OCI_VERSION = "1.0.2"
"""The lowest that carries what is used: crun 1.8 refuses what it does not know."""


def build(source: Source, user: User, volumes: Iterable[tuple[str, str]]) -> bytes:
    """config.json. Raises InvalidArgument that names the field of the request."""
    security = source.security
    if security.privileged and not source.pod_config.linux.security_context.privileged:
        raise InvalidArgument("privileged: the sandbox is not")
    all_mounts = mounts(source, volumes)
    propagated = any("rshared" in mount["options"] for mount in all_mounts)
    document: Document = {
        "ociVersion": OCI_VERSION,
        "process": _process(source, user),
        "root": {"path": "rootfs", "readonly": security.readonly_rootfs},
        "mounts": all_mounts,
        "annotations": spec_annotations(source),
        "linux": _linux(source, propagation="rshared" if propagated else "rslave"),
    }
    return msgspec.json.encode(document)


def _process(source: Source, user: User) -> Document:
    document = process(source, user)
    if user.home and not any(pair.startswith("HOME=") for pair in document["env"]):
        document["env"].append(f"HOME={user.home}")
    if profile := apparmor_profile(source):
        document["apparmorProfile"] = profile
    if label := selinux_label(source):
        document["selinuxLabel"] = label
    return document


def _linux(source: Source, propagation: str) -> Document:
    security = source.security
    nodes, rules = devices(source)
    limits = resources(source.config.linux.resources, source.facts.layout)
    document: Document = {
        "cgroupsPath": cgroup_path(source),
        "namespaces": namespaces(source),
        "resources": {**limits, "devices": rules},
        "devices": nodes,
        "rootfsPropagation": propagation,
    }
    if not security.privileged:
        document["maskedPaths"] = list(security.masked_paths)
        document["readonlyPaths"] = list(security.readonly_paths)
    if profile := seccomp_profile(source):
        document["seccomp"] = profile
    return document


def cgroup_path(source: Source) -> str:
    """Below the pod's cgroup: a path for cgroupfs, `slice:prefix:name` for systemd."""
    parent = source.pod_config.linux.cgroup_parent
    if source.systemd_cgroup:
        return f"{parent.rstrip('/').rpartition('/')[2]}:crisp:{source.container_id}"
    return f"{parent.rstrip('/') or '/crisp'}/{source.container_id}"


