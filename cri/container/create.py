"""CreateContainer.

What a crash leaves: a bundle with a mount and a snapshot, named by the container's id, and no record. Recovery finds
the directory and undoes it; the retried request makes a new container.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from core.errdefs import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from core.failpoint import failpoint
from core.images.images import Image
from core.images.lookup import find_image
from core.log import get_logger
from core.oci.user import User
from cri import api
from cri.container.deps import ContainerDeps
from cri.container.host_paths import host_paths
from cri.container.signals import signal_number
from cri.container.spec.build import build, cgroup_path
from cri.container.spec.identity import effective_user
from cri.container.spec.resources import in_force, oom_score, resources
from cri.container.spec.source import Source
from cri.container.spec.text import kernel_text
from cri.store.container import Container, container_name
from cri.store.operations import Operation
from cri.store.sandbox import PodSandbox
from cri.undo import undoing

log = get_logger(__name__)


async def create_container(deps: ContainerDeps, request: api.CreateContainerRequest) -> str:
    """Make a container in a ready sandbox; return its id. On failure nothing is left.

    Raises NotFound (sandbox, image), InvalidArgument (config), FailedPrecondition (sandbox not ready),
    AlreadyExists (name in use).
    """
    if not request.config.HasField("metadata") or not request.config.metadata.name:
        raise InvalidArgument("container config must include metadata with a name")
    pod = deps.sandboxes.get(request.pod_sandbox_id)
    name = container_name(request.config.metadata, pod.name)
    content = request.SerializeToString(deterministic=True)
    return await deps.operations.run(name, content, lambda operation: _create(deps, pod, request, operation))


async def _create(
    deps: ContainerDeps, pod: PodSandbox, request: api.CreateContainerRequest, operation: Operation
) -> str:
    _refuse_duplicate(deps, operation.name)
    if pod.stopped:
        raise FailedPrecondition(f"sandbox {pod.id} is not ready: it was stopped")
    image = _image(deps, request.config)
    await deps.verifier.check_again(image)
    container_id = deps.new_id()
    loop = asyncio.get_running_loop()
    async with undoing() as undo:
        undo.push(lambda: loop.run_in_executor(deps.filesystem, deps.bundles.remove, container_id))
        operation.step = "bundle"
        paths = await host_paths(deps.zygote, request.config)
        source = _source(deps, pod, request.config, image=image, container_id=container_id, paths=paths)
        prepared = loop.run_in_executor(deps.filesystem, _prepare, deps, source, operation.name)
        container = await asyncio.shield(prepared)
        failpoint("container.create.prepared")
        operation.step = "record"
        current = deps.sandboxes.find(pod.id)
        if current is None or current.stopped:
            raise FailedPrecondition(f"sandbox {pod.id} was stopped meanwhile")
        await deps.containers.put(container)
        undo.pop_all()
    failpoint("container.create.recorded")
    log.info("container created", container_id=container_id, name=operation.name, image=image.id)
    return container_id


def _refuse_duplicate(deps: ContainerDeps, name: str) -> None:
    for container in deps.containers.list():
        if container.name == name:
            raise AlreadyExists(f"container {name!r} exists with id {container.id}: remove it first")


def _image(deps: ContainerDeps, config: api.ContainerConfig) -> Image:
    try:
        return find_image(deps.images, config.image.image)
    except NotFound as exc:
        raise NotFound(f"image {config.image.image!r} is not on this node: pull it first") from exc


def _prepare(deps: ContainerDeps, source: Source, name: str) -> Container:
    """Everything that blocks: snapshot, mount, look-ups in the image, config.json."""
    deps.bundles.prepare(source.container_id, source.image.chain_id)
    user = effective_user(source)
    deps.bundles.write_spec(source.container_id, build(source, user, ()))
    return _record(deps, source, user, name=name)


def _source(
    deps: ContainerDeps,
    pod: PodSandbox,
    config: api.ContainerConfig,
    *,
    image: Image,
    container_id: str,
    paths: Mapping[str, str],
) -> Source:
    document: dict[str, Any] = msgspec.json.decode(image.config)
    handler = deps.handlers[pod.runtime_handler]
    return Source(
        container_id=container_id,
        config=config,
        host_paths=paths,
        pod=pod,
        pod_config=pod.request(),
        image=image,
        image_config=document.get("config") or {},
        rootfs=deps.bundles.rootfs(container_id),
        etc=os.path.join(deps.etc, pod.id),
        systemd_cgroup=handler.systemd_cgroup,
        pod_annotations=tuple(handler.pod_annotations),
        ulimits=tuple(handler.ulimits),
        target_pid=_target_pid(deps, pod, config),
        facts=deps.facts,
    )


def _target_pid(deps: ContainerDeps, pod: PodSandbox, config: api.ContainerConfig) -> int:
    """The first process of the container whose PID namespace is asked for. Raises InvalidArgument."""
    options = config.linux.security_context.namespace_options
    if options.pid != api.NamespaceMode.TARGET:
        return 0
    target = deps.containers.get(options.target_id)
    if target.sandbox_id != pod.id or not target.running:
        raise InvalidArgument(f"namespace_options.target_id {options.target_id!r}: not running in this pod")
    return target.pid


def _record(deps: ContainerDeps, source: Source, user: User, *, name: str) -> Container:
    config, image = source.config, source.image
    directory = source.pod_config.log_directory
    effective = api.LinuxContainerUser(uid=user.uid, gid=user.gid, supplemental_groups=user.groups)
    wanted = config.linux.resources
    limits = in_force(resources(wanted, deps.facts), oom_score(wanted, deps.facts))
    return Container(
        id=source.container_id,
        sandbox_id=source.pod.id,
        name=name,
        config=config.SerializeToString(),
        image_id=image.id,
        image_ref=next((name for name in image.names if "@" in name), image.id),
        image_name=next((name for name in image.names if "@" not in name), ""),
        log_path=log_path(directory, config.log_path),
        cgroup=cgroup_path(source),
        created_at=deps.clock(),
        stop_signal=signal_number(config.stop_signal, str(source.image_config.get("StopSignal") or "")),
        user=api.ContainerUser(linux=effective).SerializeToString(),
        resources=api.ContainerResources(linux=limits).SerializeToString(),
        labels=dict(config.labels),
    )


def log_path(directory: str, path: str) -> str:
    """Absolute path of the log, "" when none is wanted. Raises InvalidArgument for one outside of `directory`."""
    if not directory or not path:
        return ""
    joined = os.path.normpath(os.path.join(directory, kernel_text(path, "log_path")))
    if os.path.commonpath([joined, os.path.normpath(directory)]) != os.path.normpath(directory):
        raise InvalidArgument(f"log_path {path[:160]!r} leaves the pod's log_directory")
    return joined
