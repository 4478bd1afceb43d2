"""PodSandboxStats and ListPodSandboxStats: of the pod as a whole, its network and its containers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial

from cri import api
from cri.sandbox.status import sandbox_filter
from cri.stats.collector import by_pod
from cri.stats.deps import CHUNK, StatsDeps
from cri.store.batches import in_batches
from cri.store.sandbox import PodSandbox
from cri.store.store import frame


async def pod_sandbox_stats(deps: StatsDeps, sandbox_id: str) -> bytes:
    """The serialised PodSandboxStatsResponse. A stopped pod has its containers' layers only. Raises NotFound."""
    (stats,) = await collect_pods(deps, [deps.sandboxes.get(sandbox_id)])
    return frame(stats)


async def list_pod_sandbox_stats(deps: StatsDeps, filter_: api.PodSandboxStatsFilter) -> bytes:
    """The serialised ListPodSandboxStatsResponse, of ready pods."""
    return b"".join(map(frame, await collect_pods(deps, chosen_pods(deps, filter_))))


def stream_pod_sandbox_stats(deps: StatsDeps, filter_: api.PodSandboxStatsFilter) -> AsyncGenerator[bytes, None]:
    """Serialised StreamPodSandboxStatsResponses: the ready pods of now, each read when its turn comes."""
    return in_batches(_each(deps, chosen_pods(deps, filter_)))


async def _each(deps: StatsDeps, pods: Sequence[PodSandbox]) -> AsyncGenerator[bytes, None]:
    ready, containers = deps.ready_pods(), by_pod(deps.containers.list())
    for start in range(0, len(pods), CHUNK):
        chunk = pods[start : start + CHUNK]
        for stats in await deps.collect(partial(deps.collector.pods, chunk, containers, ready)):
            yield frame(stats)


def chosen_pods(deps: StatsDeps, filter_: api.PodSandboxStatsFilter) -> list[PodSandbox]:
    """The filter's fields are joined by AND; ids may be cut short."""
    wanted = sandbox_filter(api.PodSandboxFilter(id=filter_.id, label_selector=filter_.label_selector))
    return [pod for pod in deps.ready_pods() if wanted is None or wanted(pod)]


async def collect_pods(deps: StatsDeps, pods: Sequence[PodSandbox]) -> list[bytes]:
    """PodSandboxStats of each."""
    ready, containers = deps.ready_pods(), by_pod(deps.containers.list())
    return await deps.collect(lambda: deps.collector.pods(pods, containers, ready))
