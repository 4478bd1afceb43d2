"""PodSandboxStatus and ListPodSandbox."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable

from cri import api
from cri.calls import Calls
from cri.container.deps import ContainerDeps
from cri.sandbox.deps import SandboxDeps
from cri.sandbox.info import sandbox_info
from cri.store.batches import each, in_batches
from cri.store.container import Container
from cri.store.filters import labels_match
from cri.store.sandbox import PodSandbox
from cri.store.store import frame

_CONTAINERS = api.PodSandboxStatusResponse.DESCRIPTOR.fields_by_name["containers_statuses"].number


def pod_sandbox_status(
    deps: SandboxDeps, containers: ContainerDeps, calls: Calls, request: api.PodSandboxStatusRequest
) -> bytes:
    """The serialised PodSandboxStatusResponse: the pod and all its containers at one moment, which `timestamp` names; a
    verbose one also with the last `calls` on it. Raises NotFound."""
    pod = deps.sandboxes.get(request.pod_sandbox_id)
    its = [one for one in containers.containers.list() if one.sandbox_id == pod.id]
    rest = api.PodSandboxStatusResponse(timestamp=deps.clock())
    if request.verbose:
        rest.info["info"] = json.dumps(sandbox_info(deps, pod))
        rest.info["calls"] = json.dumps(calls.of_pod(pod.id, pod.name, *_images(its)))
    statuses = [frame(containers.statuses.of(one), _CONTAINERS) for one in its]
    return b"".join((frame(deps.statuses.of(pod)), *statuses, rest.SerializeToString()))


def _images(containers: Iterable[Container]) -> set[str]:
    """What they may have been pulled by: the kubelet creates a container from the image's id."""
    images = [one.request().image for one in containers]
    return {image.image for image in images} | {image.user_specified_image for image in images}


def status_of(pod: PodSandbox) -> api.PodSandboxStatus:
    config = pod.request()
    ips = () if pod.stopped else pod.ips  # a stopped one has given its addresses back: they may be another's by now
    network = api.PodSandboxNetworkStatus()
    if ips:
        network.ip = ips[0]
        network.additional_ips.extend(api.PodIP(ip=ip) for ip in ips[1:])
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
