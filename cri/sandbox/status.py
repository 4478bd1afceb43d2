"""PodSandboxStatus and ListPodSandbox."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable

from cri import api
from cri.calls import Calls
from cri.container.status import runtime_info
from cri.container.status import status_of as container_status
from cri.documents import to_dict
from cri.sandbox.deps import SandboxDeps
from cri.store.batches import each, in_batches
from cri.store.container import Container
from cri.store.filters import labels_match
from cri.store.sandbox import PodSandbox
from cri.store.store import Store

_SUMS = ("overhead", "resources")


def pod_sandbox_status(
    deps: SandboxDeps, containers: Store[Container], calls: Calls, request: api.PodSandboxStatusRequest
) -> api.PodSandboxStatusResponse:
    """The pod and all its containers at one moment, which `timestamp` names; a verbose one also with the last `calls`
    on it. Raises NotFound."""
    pod = deps.sandboxes.get(request.pod_sandbox_id)
    its = [one for one in containers.list() if one.sandbox_id == pod.id]
    info = None
    if request.verbose:
        noted = calls.of_pod(pod.id, pod.name, *_images(its))
        info = {"info": json.dumps(verbose_info(deps, pod)), "calls": json.dumps(noted)}
    return api.PodSandboxStatusResponse(
        status=status_of(pod),
        info=info,
        containers_statuses=[container_status(one) for one in its],
        timestamp=deps.clock(),
    )


def _images(containers: Iterable[Container]) -> set[str]:
    """What they may have been pulled by: the kubelet creates a container from the image's id."""
    images = [one.request().image for one in containers]
    return {image.image for image in images} | {image.user_specified_image for image in images}


def status_of(pod: PodSandbox) -> api.PodSandboxStatus:
    config = pod.request()
    network = api.PodSandboxNetworkStatus()
    if pod.ips:
        network.ip = pod.ips[0]
        network.additional_ips.extend(api.PodIP(ip=ip) for ip in pod.ips[1:])
    return api.PodSandboxStatus(
        id=pod.id,
        metadata=config.metadata,
        state=pod.state,
        created_at=pod.created_at,
        network=network,
        linux=api.LinuxPodSandboxStatus(
            namespaces=api.Namespace(options=config.linux.security_context.namespace_options)
        ),
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=pod.runtime_handler,
    )


def verbose_info(deps: SandboxDeps, pod: PodSandbox) -> dict[str, object]:
    """The keys that containerd's verbose status has, since tools read them."""
    config = pod.request()
    runtime = deps.handlers.get(pod.runtime_handler)
    sums = {name: to_dict(getattr(config.linux, name)) for name in _SUMS if config.linux.HasField(name)}
    return {
        "pid": pod.sandbox.pid,
        "processStatus": "running" if not pod.stopped else "deleted",
        "netNamespaceClosed": pod.stopped,
        "image": runtime.infra_image if runtime else "",
        "runtimeHandler": pod.runtime_handler,
        **runtime_info(deps.handlers, pod.runtime_handler),
        "runtimeSpec": _spec(pod, config),
        "config": to_dict(config),
        "cniResult": json.loads(pod.network_result) if pod.network_result else None,
        "namespaces": dict(pod.sandbox.namespaces),
        "createdAt": pod.created_at,
        **{name: {"linux": resources} for name, resources in sums.items()},
    }


def _spec(pod: PodSandbox, config: api.PodSandboxConfig) -> dict[str, object]:
    """A pod without a root container has no OCI spec; this is where scripts look for its network namespace."""
    namespaces = [{"type": kind, "path": path} for kind, path in pod.sandbox.namespaces.items()]
    return {"hostname": config.hostname, "linux": {"namespaces": namespaces}}


def list_pod_sandboxes(deps: SandboxDeps, filter_: api.PodSandboxFilter) -> bytes:
    """The serialised ListPodSandboxResponse; the filter's fields are joined by AND."""
    return deps.sandboxes.reply(sandbox_filter(filter_))


def stream_pod_sandboxes(deps: SandboxDeps, filter_: api.PodSandboxFilter) -> AsyncGenerator[bytes, None]:
    """The same as serialised StreamPodSandboxesResponses."""
    return in_batches(each(deps.sandboxes.framed(sandbox_filter(filter_))))


def sandbox_filter(filter_: api.PodSandboxFilter) -> Callable[[PodSandbox], bool] | None:
    if not filter_.ByteSize():
        return None
    state = filter_.state.state if filter_.HasField("state") else None

    def wanted(pod: PodSandbox) -> bool:
        return (
            pod.id.startswith(filter_.id)
            and (state is None or pod.state == state)
            and labels_match(pod.labels, filter_.label_selector)
        )

    return wanted
