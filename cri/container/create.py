"""CreateContainer.

What a crash leaves: a bundle with a mount and a snapshot, named by the container's id, and no record. Recovery finds
the directory and undoes it; the retried request makes a new container.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from core.errdefs import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from core.failpoint import failpoint
from core.images.images import Image
from core.images.lookup import find_image
from core.log import get_logger
from core.oci.runtime import Spec
from core.oci.user import User
from core.steps import carried, step
from cri import api
from cri.container.deps import ContainerDeps
from cri.container.host_paths import host_paths
from cri.container.image_mounts import WantedImage, wanted_images
from cri.container.mapped import map_volumes, mapped_users
from cri.container.record import new_record
from cri.container.rootfs import refuse_detours, refuse_links
from cri.container.source import source_of
from cri.container.spec.build import build
from cri.container.spec.identity import effective_user
from cri.container.spec.resources import in_force
from cri.container.spec.source import Source
from cri.container.volumes import declared_volumes
from cri.store.container import Container, container_name
from cri.store.operations import Operation
from cri.store.sandbox import PodSandbox
from cri.undo import Undo, undoing

if TYPE_CHECKING:
    from core.api.nri_types_pb2 import ContainerAdjustment

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What has its bundle."""

    source: Source
    user: User
    container: Container


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
    image, images = _image(deps, request.config), wanted_images(deps.images, request.config)
    with step("verify images"):
        for one in (image, *(wanted.image for wanted in images)):
            await deps.verifier.check_again(one)
    handler = deps.handlers[pod.runtime_handler]
    for one in (image, *(wanted.image for wanted in images)):
        await deps.unpack(one, handler.snapshotter)
    container_id = deps.new_id()
    loop = asyncio.get_running_loop()
    async with undoing() as undo:
        undo.push(lambda: loop.run_in_executor(deps.filesystem, deps.bundles.remove, container_id))
        with step("host paths"):
            paths = await host_paths(deps.zygote, request.config, strict=handler.strict_host_paths)
        source = source_of(deps, pod, request.config, image=image, container_id=container_id, paths=paths)
        with step("bundle"):
            prepare = carried(_prepare)
            prepared = loop.run_in_executor(deps.filesystem, prepare, deps, source, images, operation.name)
            made = await asyncio.shield(prepared)
        failpoint("container.create.prepared")
        container = await _as_plugins_want(deps, undo, made)
        current = deps.sandboxes.find(pod.id)
        if current is None or current.stopped:
            raise FailedPrecondition(f"sandbox {pod.id} was stopped meanwhile")
        await deps.containers.put(container)
        undo.pop_all()
    failpoint("container.create.recorded")
    await deps.nri.created(container)
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


def _prepare(deps: ContainerDeps, source: Source, images: Sequence[WantedImage], name: str) -> Prepared:
    """Everything that blocks: snapshot, mounts, look-ups and copies in the image, config.json."""
    bundles, snapshotter = deps.bundles, deps.handlers[source.pod.runtime_handler].snapshotter
    chain_id, users = source.image.chain_id, mapped_users(source.pod)
    refuse_links(bundles.prepare(source.container_id, chain_id, users, snapshotter=snapshotter))
    paths = {
        one.container_path: bundles.images.make(source.container_id, number, one, snapshotter=snapshotter)
        for number, one in enumerate(images)
    }
    source = replace(source, paths={**source.paths, **paths})
    source = replace(source, paths={**source.paths, **map_volumes(bundles, source)})
    taken = (mount.container_path for mount in source.config.mounts)
    targets = declared_volumes(source.image_config.get("Volumes") or {}, taken)
    user = effective_user(source)
    volumes = bundles.volumes.make(source.container_id, source.rootfs, targets)
    _write(deps, source, build(source, user, volumes))
    container = new_record(source, user, images, name=name, created_at=deps.clock())
    return Prepared(source=source, user=user, container=container)


def _write(deps: ContainerDeps, source: Source, spec: Spec) -> None:
    refuse_detours(source.rootfs, (mount["destination"] for mount in spec["mounts"]))
    deps.bundles.write_spec(source.container_id, msgspec.json.encode(spec))


async def _as_plugins_want(deps: ContainerDeps, undo: Undo, prepared: Prepared) -> Container:
    if deps.nri.idle:
        return prepared.container
    with step("NRI plugins"):
        undo.push(deps.nri.forget, prepared.container)
        adjustment = await deps.nri.create(prepared.container)
        if adjustment is None or not adjustment.ByteSize():
            return prepared.container
        loop = asyncio.get_running_loop()
        adjusted = await asyncio.shield(loop.run_in_executor(deps.filesystem, _adjust, deps, prepared, adjustment))
    failpoint("container.create.adjusted")
    return adjusted


def _adjust(deps: ContainerDeps, prepared: Prepared, adjustment: ContainerAdjustment) -> Container:
    """It blocks."""
    from cri.container.spec.adjustment import adjust  # noqa: PLC0415 - loads NRI's messages, which most nodes never need

    container_id = prepared.container.id
    spec = msgspec.json.decode(deps.bundles.spec(container_id))
    adjust(spec, adjustment, prepared.source, prepared.user)
    _write(deps, prepared.source, spec)
    limits = in_force(spec["linux"]["resources"], spec["process"]["oomScoreAdj"])
    return replace(
        prepared.container,
        cgroup=spec["linux"]["cgroupsPath"],
        resources=api.ContainerResources(linux=limits).SerializeToString(),
    )
