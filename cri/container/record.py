"""The record of a new container."""

from __future__ import annotations

import os
from collections.abc import Iterable

from core.errdefs import InvalidArgument
from core.images.images import Image
from core.oci.user import User
from cri import api
from cri.container.image_mounts import WantedImage
from cri.container.signals import signal_number
from cri.container.spec.build import cgroup_path
from cri.container.spec.resources import in_force, oom_score, resources
from cri.container.spec.source import Source
from cri.container.spec.text import kernel_text
from cri.store.container import Container, ImageMount


def new_record(source: Source, user: User, images: Iterable[WantedImage], *, name: str, created_at: int) -> Container:
    """Raises InvalidArgument (log_path, stop signal)."""
    config, image, wanted = source.config, source.image, source.config.linux.resources
    logs = source.pod_config.log_directory
    effective = api.LinuxContainerUser(uid=user.uid, gid=user.gid, supplemental_groups=user.groups)
    limits = in_force(resources(wanted, source.facts), oom_score(wanted, source.facts))
    return Container(
        id=source.container_id,
        sandbox_id=source.pod.id,
        name=name,
        config=config.SerializeToString(),
        image_id=image.id,
        image_ref=image_ref(image),
        image_name=next((name for name in image.names if "@" not in name), ""),
        log_path=log_path(logs, config.log_path),
        log_file=log_path(os.path.realpath(logs), config.log_path) if logs else "",
        cgroup=cgroup_path(source),
        created_at=created_at,
        stop_signal=signal_number(config.stop_signal, str(source.image_config.get("StopSignal") or "")),
        user=api.ContainerUser(linux=effective).SerializeToString(),
        resources=api.ContainerResources(linux=limits).SerializeToString(),
        image_mounts=tuple(
            ImageMount(container_path=one.container_path, image_id=one.image.id) for one in images
        ),
        labels=dict(config.labels),
    )


def image_ref(image: Image) -> str:
    """A repo digest, or the id of an image without one."""
    return next((name for name in image.names if "@" in name), image.id)


def log_path(directory: str, path: str) -> str:
    """Absolute path of the log, "" when none is wanted. Raises InvalidArgument for one outside of `directory`."""
    if not directory or not path:
        return ""
    joined = os.path.normpath(os.path.join(directory, kernel_text(path, "log_path")))
    if os.path.commonpath([joined, os.path.normpath(directory)]) != os.path.normpath(directory):
        raise InvalidArgument(f"log_path {path[:160]!r} leaves the pod's log_directory")
    return joined
