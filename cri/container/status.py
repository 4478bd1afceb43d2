"""ContainerStatus and ListContainers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping

from core.errdefs import NotFound
from cri import api
from cri.config.config import Runtime
from cri.container.deps import ContainerDeps
from cri.container.signals import signal_of
from cri.documents import to_dict
from cri.store.batches import each, in_batches
from cri.store.container import Container
from cri.store.filters import labels_match


def container_status(deps: ContainerDeps, request: api.ContainerStatusRequest) -> api.ContainerStatusResponse:
    """Raises NotFound."""
    container = deps.containers.get(request.container_id)
    info = {"info": json.dumps(verbose_info(deps, container))} if request.verbose else None
    return api.ContainerStatusResponse(status=status_of(container), info=info)


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


def verbose_info(deps: ContainerDeps, container: Container) -> dict[str, object]:
    """The keys that containerd's verbose status has, since tools read them."""
    try:
        spec = json.loads(deps.bundles.spec(container.id))
    except NotFound:
        spec = None
    pod = deps.sandboxes.find(container.sandbox_id)
    return {
        "sandboxID": container.sandbox_id,
        "pid": container.pid,
        "removing": False,
        "snapshotKey": container.id,
        "snapshotter": deps.bundles.snapshotter_name,
        **runtime_info(deps.handlers, pod.runtime_handler if pod else ""),
        "config": to_dict(container.request()),
        "runtimeSpec": spec,
    }


def runtime_info(handlers: Mapping[str, Runtime], name: str) -> dict[str, object]:
    """What runs a pod's containers; nothing is known of a handler that has left the configuration."""
    if name not in handlers:
        return {"runtimeType": "", "runtimeOptions": None}
    runtime = handlers[name]
    options = {"binary_name": runtime.binary, "systemd_cgroup": runtime.systemd_cgroup}
    return {"runtimeType": runtime.type, "runtimeOptions": options}


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
