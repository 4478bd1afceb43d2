"""From records to stats: reads control groups, layers and interfaces. It belongs to one thread, and blocks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from core.cgroups.usage import Usage, total
from core.files.meter import Measured
from core.network.netns import InterfaceStats, interface_stats
from cri.stats.layers import Layers
from cri.stats.messages import container_usage, pod_usage
from cri.stats.tracking import Tracking
from cri.store.container import Container
from cri.store.sandbox import PodSandbox


class Collector:
    """Each message is returned as bytes: ContainerStats, PodSandboxStats."""

    def __init__(self, tracking: Tracking, layers: Layers, clock: Callable[[], int]) -> None:
        self._tracking = tracking
        self._layers = layers
        self._clock = clock

    def containers(self, containers: Sequence[Container]) -> list[bytes]:
        """In order. One that does not run has attributes and a writable layer only."""
        layers = self._layers.of(containers)
        return [self._container(one, layers[one.id])[0] for one in containers]

    def pods(
        self, pods: Sequence[PodSandbox], of_pod: Mapping[str, Sequence[Container]], ready: Iterable[PodSandbox]
    ) -> list[bytes]:
        """In order. `of_pod` has the containers by pod, `ready` all ready pods of the node."""
        layers = self._layers.of([container for pod in pods for container in of_pod.get(pod.id, ())])
        traffic = interface_stats([pod.sandbox.netns for pod in pods if pod.sandbox.netns])
        owners = self._tracking.owners(ready)
        return [
            self._pod(pod, of_pod.get(pod.id, ()), layers, traffic.get(pod.sandbox.netns), owners) for pod in pods
        ]

    def _container(self, container: Container, layer: Measured | None) -> tuple[bytes, Usage | None]:
        tracked = self._tracking.container(container)
        reading = usage = None
        if not container.running:
            tracked.close()
        elif usage := tracked.usage():
            reading = tracked.reading(self._clock(), usage, container.started_at)
        return tracked.attributes + container_usage(reading, layer, self._layers.root), usage

    def _pod(
        self,
        pod: PodSandbox,
        containers: Sequence[Container],
        layers: Mapping[str, Measured | None],
        interfaces: Mapping[str, InterfaceStats] | None,
        owners: Collection[str],
    ) -> bytes:
        tracked = self._tracking.pod(pod)
        inner = [self._container(container, layers[container.id]) for container in containers]
        if tracked.group and pod.id in owners:
            usage, groups = tracked.usage(), [tracked.group]
        else:
            usage = total([usage for _, usage in inner if usage])
            groups = [group for one in containers if (group := self._tracking.container(one).group)]
        now = self._clock()
        message = pod_usage(
            now,
            tracked.reading(now, usage) if usage else None,
            sum(len(group.pids()) for group in groups) if usage else 0,
            interfaces,
            [message for message, _ in inner],
        )
        return tracked.attributes + message


def by_pod(containers: Iterable[Container]) -> dict[str, list[Container]]:
    """The containers of each pod, by its id."""
    found: dict[str, list[Container]] = {}
    for container in containers:
        found.setdefault(container.sandbox_id, []).append(container)
    return found
