"""ListMetricDescriptors and ListPodSandboxMetrics: what the kubelet's /metrics/cadvisor is made of."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

from cri import api
from cri.stats.collector import by_pod
from cri.stats.deps import StatsDeps
from cri.stats.metrics.families import descriptors
from cri.store.batches import in_batches
from cri.store.store import frame


def list_metric_descriptors() -> api.ListMetricDescriptorsResponse:
    return api.ListMetricDescriptorsResponse(descriptors=descriptors())


async def list_pod_sandbox_metrics(deps: StatsDeps) -> bytes:
    """The serialised ListPodSandboxMetricsResponse, of all ready pods."""
    return b"".join([metrics async for metrics in _each(deps)])


def stream_pod_sandbox_metrics(deps: StatsDeps) -> AsyncGenerator[bytes, None]:
    """The same as serialised StreamPodSandboxMetricsResponses."""
    return in_batches(_each(deps))


async def _each(deps: StatsDeps) -> AsyncGenerator[bytes, None]:
    """One pod at a time, so that calls for stats, which want less, need not wait for all of them."""
    ready, containers = deps.ready_pods(), by_pod(deps.containers.list())
    owners = await deps.collect(lambda: deps.tracking.owners(ready))
    for pod in ready:
        yield frame(await deps.collect(partial(deps.metrics.pod, pod, containers.get(pod.id, ()), owners)))
