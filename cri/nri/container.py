"""A container as plugins see it: its record, and its OCI spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.api import nri_types_pb2 as types
from core.api.nri_types_pb2 import Container as Message
from cri import api
from cri.nri.limits import from_oci
from cri.nri.spec import devices, hooks, io_priority, mounts, namespaces, scheduler, seccomp
from cri.store.container import Container

_STATES = {
    api.CONTAINER_CREATED: types.CONTAINER_CREATED,
    api.CONTAINER_RUNNING: types.CONTAINER_RUNNING,
    api.CONTAINER_EXITED: types.CONTAINER_STOPPED,
    api.CONTAINER_UNKNOWN: types.CONTAINER_UNKNOWN,
}


def container_message(container: Container, spec: Mapping[str, Any]) -> Message:
    """`spec` is the decoded config.json; an empty one when it is gone."""
    config = container.request()
    message = Message(
        id=container.id,
        pod_sandbox_id=container.sandbox_id,
        name=config.metadata.name,
        state=_STATES[container.state],
        labels=config.labels,
        annotations={**spec.get("annotations", {}), **config.annotations},
        hooks=hooks(spec.get("hooks", {})),
        mounts=mounts(spec.get("mounts", [])),
        pid=container.pid,
        created_at=container.created_at,
        started_at=container.started_at,
        finished_at=container.finished_at,
        exit_code=container.exit_code,
        status_reason=container.reason,
        status_message=container.message,
        CDI_devices=[types.CDIDevice(name=one.name) for one in config.CDI_devices],
        image=_image(container, config),
    )
    if spec:
        _add_process(message, spec["process"])
        message.linux.CopyFrom(_linux(spec, config))
    return message


def _image(container: Container, config: api.ContainerConfig) -> types.Image:
    """By tag where it has one; the digest is that of the manifest when the image was pulled with one."""
    _, at, digest = container.image_ref.partition("@")
    name = container.image_name or config.image.user_specified_image or config.image.image
    return types.Image(name=name, digest=digest if at else "", config_digest=container.image_id)


def _add_process(message: Message, process: Mapping[str, Any]) -> None:
    user = process["user"]
    message.args.extend(process["args"])
    message.env.extend(process["env"])
    message.user.CopyFrom(
        types.User(uid=user["uid"], gid=user["gid"], additional_gids=user.get("additionalGids", []))
    )
    message.rlimits.extend(
        types.POSIXRlimit(type=one["type"], hard=one["hard"], soft=one["soft"]) for one in process.get("rlimits", [])
    )


def _linux(spec: Mapping[str, Any], config: api.ContainerConfig) -> types.LinuxContainer:
    process, linux = spec["process"], spec["linux"]
    message = types.LinuxContainer(
        namespaces=namespaces(linux["namespaces"]),
        devices=devices(linux["devices"]),
        resources=from_oci(linux["resources"]),
        oom_score_adj=types.OptionalInt(value=process["oomScoreAdj"]),
        cgroups_path=linux["cgroupsPath"],
        sysctl=linux.get("sysctl", {}),
    )
    if "ioPriority" in process:
        message.io_priority.CopyFrom(io_priority(process["ioPriority"]))
    if "scheduler" in process:
        message.scheduler.CopyFrom(scheduler(process["scheduler"]))
    if "seccomp" in linux:
        message.seccomp_policy.CopyFrom(seccomp(linux["seccomp"]))
    if config.linux.security_context.HasField("seccomp"):
        asked = config.linux.security_context.seccomp  # the kinds have the same numbers in both
        kind = types.SecurityProfile.ProfileType.Name(asked.profile_type)
        message.seccomp_profile.CopyFrom(types.SecurityProfile(profile_type=kind, localhost_ref=asked.localhost_ref))
    if rdt := linux.get("intelRdt"):
        message.rdt.clos_id.value = rdt.get("closID", "")
        message.rdt.schemata.value.extend(rdt.get("schemata", []))
    return message
