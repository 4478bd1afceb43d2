"""From a CreateContainer request, and what is known of pod, image and node, to the source of the OCI spec."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from core.errdefs import InvalidArgument, NotFound
from core.images.images import Image
from cri import api
from cri.container.deps import ContainerDeps
from cri.container.spec.source import Source
from cri.store.sandbox import PodSandbox


def source_of(
    deps: ContainerDeps,
    pod: PodSandbox,
    config: api.ContainerConfig,
    *,
    image: Image,
    container_id: str,
    paths: Mapping[str, str],
) -> Source:
    """Raises InvalidArgument."""
    if image.artifact_type:
        raise InvalidArgument(f"image {image.id} is an artifact ({image.artifact_type[:160]}): mount it, it cannot run")
    document: dict[str, Any] = msgspec.json.decode(image.config)
    handler = deps.handlers[pod.runtime_handler]
    return Source(
        container_id=container_id,
        config=config,
        paths=paths,
        pod=pod,
        pod_config=pod.request(),
        image=image,
        image_config=document.get("config") or {},
        rootfs=deps.bundles.rootfs(container_id),
        etc=os.path.join(deps.etc, pod.id),
        systemd_cgroup=handler.systemd_cgroup,
        pod_annotations=tuple(handler.pod_annotations),
        ulimits=tuple(handler.ulimits),
        cdi_dirs=deps.cdi_dirs,
        blockio_file=deps.blockio_file,
        device_ownership=handler.device_ownership_from_security_context,
        target_pid=target_pid(deps, pod, config),
        facts=deps.facts,
    )


def target_pid(deps: ContainerDeps, pod: PodSandbox, config: api.ContainerConfig) -> int:
    """The first process of the container whose PID namespace is asked for, 0 when none is.

    Raises InvalidArgument unless that container runs in the same pod.
    """
    options = config.linux.security_context.namespace_options
    if options.pid != api.NamespaceMode.TARGET:
        return 0
    wrong = InvalidArgument(f"namespace_options.target_id {options.target_id[:160]!r}: not running in this pod")
    try:
        target = deps.containers.get(options.target_id)
    except (NotFound, InvalidArgument) as exc:  # none, or one that is empty or stands for several
        raise wrong from exc
    if target.sandbox_id != pod.id or not target.running:
        raise wrong
    return target.pid
