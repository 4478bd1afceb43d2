"""ListMetricDescriptors and ListPodSandboxMetrics: what the kubelet's /metrics/cadvisor is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from cri import api
from cri.stats.collector import by_pod
from cri.stats.deps import StatsDeps
from cri.stats.metrics.families import descriptors
from cri.store.store import frame


def list_metric_descriptors() -> api.ListMetricDescriptorsResponse:
    return api.ListMetricDescriptorsResponse(descriptors=descriptors())


async def list_pod_sandbox_metrics(deps: StatsDeps) -> bytes:
    """The serialised ListPodSandboxMetricsResponse, of all ready pods."""
    return b"".join([frame(metrics) async for metrics in each_pod(deps)])


async def each_pod(deps: StatsDeps) -> AsyncIterator[bytes]:
    """PodSandboxMetrics of each ready pod. One pod at a time, so that calls for stats, which want less, need not wait
    for all of them."""
    ready = deps.ready_pods()
    containers = by_pod(deps.containers.list())
    owners = await deps.collect(lambda: deps.tracking.owners(ready))
    for pod in ready:
        yield await deps.collect(partial(deps.metrics.pod, pod, containers.get(pod.id, ()), owners))
