"""ContainerStatus and ListContainers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable

from cri import api
from cri.container.deps import ContainerDeps
from cri.container.info import container_info
from cri.container.signals import signal_of
from cri.store.batches import each, in_batches
from cri.store.container import Container
from cri.store.filters import labels_match
from cri.store.store import frame


def container_status(deps: ContainerDeps, request: api.ContainerStatusRequest) -> bytes:
    """The serialised ContainerStatusResponse. Raises NotFound."""
    container = deps.containers.get(request.container_id)
    status = frame(deps.statuses.of(container))
    if not request.verbose:
        return status
    info = {"info": json.dumps(container_info(deps, container))}
    return status + api.ContainerStatusResponse(info=info).SerializeToString()


def status_of(container: Container) -> api.ContainerStatus:
    config = container.request()
    return api.ContainerStatus(
        id=container.id,
        metadata=config.metadata,
        state=container.state,
        created_at=container.created_at,
        started_at=container.started_at,
        finished_at=container.finished_at,
        exit_code=container.exit_code,
        image=_image(container, config),
        image_ref=container.image_ref,
        image_id=container.image_id,
        reason=container.reason,
        message=container.message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=_mounts(container, config),
        log_path=container.log_path,
        resources=api.ContainerResources.FromString(container.resources) if container.resources else None,
        user=api.ContainerUser.FromString(container.user) if container.user else None,
        stop_signal=signal_of(container.stop_signal),
    )


def _image(container: Container, config: api.ContainerConfig) -> api.ImageSpec:
    """As it was asked for, under a name that people know: the kubelet asks by id."""
    image = config.image
    image.image = container.image_name or image.image
    return image


def _mounts(container: Container, config: api.ContainerConfig) -> list[api.Mount]:
    """As they were asked for; those of images with what PullImageResponse.image_ref says of what is mounted."""
    references = {one.container_path: one.image_id for one in container.image_mounts}
    for mount in config.mounts:
        if mount.container_path in references:
            mount.image.image_ref = references[mount.container_path]
    return list(config.mounts)


def list_containers(deps: ContainerDeps, filter_: api.ContainerFilter) -> bytes:
    """The serialised ListContainersResponse; the filter's fields are joined by AND."""
    return deps.containers.reply(container_filter(filter_))


def stream_containers(deps: ContainerDeps, filter_: api.ContainerFilter) -> AsyncGenerator[bytes, None]:
    """The same as serialised StreamContainersResponses."""
    return in_batches(each(deps.containers.framed(container_filter(filter_))))


def container_filter(filter_: api.ContainerFilter) -> Callable[[Container], bool] | None:
    if not filter_.ByteSize():
        return None
    state = filter_.state.state if filter_.HasField("state") else None

    def wanted(container: Container) -> bool:
        return (
            container.id.startswith(filter_.id)
            and container.sandbox_id.startswith(filter_.pod_sandbox_id)
            and (state is None or container.state == state)
            and labels_match(container.labels, filter_.label_selector)
        )

    return wanted
