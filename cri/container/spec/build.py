"""The OCI runtime spec of a container (runtime-spec, config.md), from everything that is known of it."""

from __future__ import annotations

from collections.abc import Iterable

from core.errdefs import InvalidArgument
from core.oci.cgroups import cgroups_path
from core.oci.runtime import VERSION, IdMapping, Linux, Mount, Pids, Process, Root, Spec
from core.oci.user import User
from core.sandbox.controller import IdMapping as Line
from cri.container.spec.annotations import spec_annotations
from cri.container.spec.cdi import inject_devices
from cri.container.spec.classes import blockio, rdt
from cri.container.spec.devices import devices
from cri.container.spec.mounts import is_mounted, mounts
from cri.container.spec.namespaces import namespaces
from cri.container.spec.process import process
from cri.container.spec.resources import resources
from cri.container.spec.security import apparmor_profile, masked_paths, readonly_paths, seccomp_profile, selinux_label
from cri.container.spec.source import Source
from cri.container.spec.ulimits import ulimits
from cri.user_namespace import user_namespace


def build(source: Source, user: User, volumes: Iterable[tuple[str, str]]) -> Spec:
    """What config.json is to say. `volumes` are the image's own: where in the container, and the node's directory.

    Raises InvalidArgument that names the field of the request.
    """
    if source.security.privileged and not source.pod_config.linux.security_context.privileged:
        raise InvalidArgument("security_context.privileged: the sandbox is not")
    all_mounts = mounts(source, volumes)
    document = Spec(
        ociVersion=VERSION,
        process=_process(source, user),
        root=Root(path="rootfs", readonly=source.security.readonly_rootfs),
        mounts=all_mounts,
        annotations=spec_annotations(source),
        linux=_linux(source, user, all_mounts),
    )
    inject_devices(document, source, user)
    return document


def _process(source: Source, user: User) -> Process:
    document = process(source, user)
    if limits := ulimits(source):
        document["rlimits"] = limits
    if profile := apparmor_profile(source):
        document["apparmorProfile"] = profile
    if label := selinux_label(source):
        document["selinuxLabel"] = label
    return document


def _linux(source: Source, user: User, all_mounts: list[Mount]) -> Linux:
    # Slave, so that mounts which the node undoes do not live on in here; shared only where a mount must get out.
    propagation = "rshared" if any("rshared" in mount["options"] for mount in all_mounts) else "rslave"
    nodes, rules = devices(source, user, own_dev=not is_mounted(source, "/dev"))
    limits = resources(source.config.linux.resources, source.facts)
    limits["devices"] = rules
    if source.systemd_cgroup:  # which gives a scope that says nothing DefaultTasksMax: the kubelet limits pods, not it
        limits["pids"] = Pids(limit=-1)
    if throttled := blockio(source):
        limits["blockIO"] = throttled
    document = Linux(
        cgroupsPath=cgroup_path(source),
        namespaces=namespaces(source),
        resources=limits,
        devices=nodes,
        rootfsPropagation=propagation,
        maskedPaths=masked_paths(source),
        readonlyPaths=readonly_paths(source),
    )
    if users := user_namespace(source.pod_config.linux.security_context.namespace_options):
        # What the namespace that is joined has: runc 1.1 wants to be told.
        document["uidMappings"], document["gidMappings"] = [_mapping(users.uids)], [_mapping(users.gids)]
    if profile := seccomp_profile(source):
        document["seccomp"] = profile
    if share := rdt(source):
        document["intelRdt"] = share
    return document


def _mapping(line: Line) -> IdMapping:
    return IdMapping(containerID=line.container_id, hostID=line.host_id, size=line.length)


def cgroup_path(source: Source) -> str:
    """Below the pod's cgroup, as the driver of its handler writes it."""
    parent = source.pod_config.linux.cgroup_parent
    return cgroups_path(parent, source.container_id, systemd=source.systemd_cgroup)
