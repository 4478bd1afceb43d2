"""ContainerStats and ListContainerStats: a container that does not run has a writable layer and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial

from cri import api
from cri.container.status import container_filter
from cri.stats.deps import CHUNK, StatsDeps
from cri.store.batches import in_batches
from cri.store.container import Container
from cri.store.store import frame


async def container_stats(deps: StatsDeps, container_id: str) -> bytes:
    """The serialised ContainerStatsResponse. Raises NotFound."""
    container = deps.containers.get(container_id)
    (stats,) = await deps.collect(lambda: deps.collector.containers([container]))
    return frame(stats)


async def list_container_stats(deps: StatsDeps, filter_: api.ContainerStatsFilter) -> bytes:
    """The serialised ListContainerStatsResponse."""
    chosen = chosen_containers(deps, filter_)
    return b"".join(map(frame, await deps.collect(lambda: deps.collector.containers(chosen))))


def stream_container_stats(deps: StatsDeps, filter_: api.ContainerStatsFilter) -> AsyncGenerator[bytes, None]:
    """Serialised StreamContainerStatsResponses: the containers of now, each read when its turn comes."""
    return in_batches(_each(deps, chosen_containers(deps, filter_)))


async def _each(deps: StatsDeps, chosen: Sequence[Container]) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(chosen), CHUNK):
        chunk = chosen[start : start + CHUNK]
        for stats in await deps.collect(partial(deps.collector.containers, chunk)):
            yield frame(stats)


def chosen_containers(deps: StatsDeps, filter_: api.ContainerStatsFilter) -> list[Container]:
    """The filter's fields are joined by AND; ids may be cut short."""
    same = api.ContainerFilter(
        id=filter_.id, pod_sandbox_id=filter_.pod_sandbox_id, label_selector=filter_.label_selector
    )
    wanted = container_filter(same)
    return [container for container in deps.containers.list() if wanted is None or wanted(container)]
