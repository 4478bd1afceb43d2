"""From records to stats: reads control groups, layers and interfaces. It belongs to one thread, and blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from core.cgroups.cgroups import Usage, total
from core.errdefs import InvalidArgument, NotFound
from core.files.meter import Measured, Meter
from core.linux.cgroup import CgroupLayout
from core.network.netns import InterfaceStats, interface_stats
from core.oci.cgroups import group_of, parent_group
from cri.stats.messages import container_attributes, container_usage, pod_attributes, pod_usage
from cri.stats.tracking import Tracked, Tracking
from cri.store.container import Container
from cri.store.sandbox import PodSandbox

Layers = Mapping[str, Measured | None]


class Collector:
    """Each message is returned as bytes: ContainerStats, PodSandboxStats."""

    def __init__(
        self,
        *,
        layout: CgroupLayout,
        meter: Meter,
        upper: Callable[[str], str],
        systemd: Callable[[str], bool],
        mountpoint: str,
        clock: Callable[[], int],
    ) -> None:
        """`upper` tells the directory of a container's writable layer, or raises NotFound; `systemd` whether a runtime
        handler leaves cgroups to systemd; `mountpoint` what ImageFsInfo calls the filesystem of layers."""
        self._tracking = Tracking(layout)
        self._meter = meter
        self._upper = upper
        self._systemd = systemd
        self._mountpoint = mountpoint
        self._clock = clock

    def keep(self, ids: Collection[str]) -> None:
        """Forget all containers and pods but these."""
        self._tracking.keep(ids)
        self._meter.keep(ids)

    def close(self) -> None:
        """Idempotent."""
        self._tracking.keep(())
        self._meter.close()

    def containers(self, containers: Sequence[Container]) -> list[bytes]:
        """In order. One that does not run has attributes and a writable layer only."""
        layers = self._layers(containers)
        return [self._container(one, layers)[0] for one in containers]

    def pods(
        self, pods: Sequence[PodSandbox], of_pod: Mapping[str, Sequence[Container]], ready: Iterable[PodSandbox]
    ) -> list[bytes]:
        """In order. `of_pod` has the containers by pod, `ready` all ready pods of the node."""
        layers = self._layers([container for pod in pods for container in of_pod.get(pod.id, ())])
        traffic = interface_stats([pod.sandbox.netns for pod in pods if pod.sandbox.netns])
        sharing = Counter(self._track_pod(pod).path for pod in ready)
        return [
            self._pod(
                pod,
                of_pod.get(pod.id, ()),
                layers,
                traffic.get(pod.sandbox.netns),
                own=not pod.stopped and sharing[self._track_pod(pod).path] == 1,
            )
            for pod in pods
        ]

    def _container(self, container: Container, layers: Layers) -> tuple[bytes, Usage | None]:
        tracked = self._track(container)
        reading = usage = None
        if not container.running:
            tracked.close()
        elif usage := tracked.usage():
            reading = tracked.reading(self._clock(), usage, container.started_at)
        message = container_usage(reading, layers[container.id], self._mountpoint)
        return tracked.attributes + message, usage

    def _pod(
        self,
        pod: PodSandbox,
        containers: Sequence[Container],
        layers: Layers,
        interfaces: Mapping[str, InterfaceStats] | None,
        *,
        own: bool,
    ) -> bytes:
        """`own` says whether the pod's control group, if it has one, is no other pod's."""
        tracked = self._track_pod(pod)
        inner = [self._container(container, layers) for container in containers]
        if tracked.group and own:
            usage, groups = tracked.usage(), [tracked.group]
        else:
            usage = total([usage for _, usage in inner if usage])
            groups = [group for one in containers if (group := self._track(one).group)]
        now = self._clock()
        message = pod_usage(
            now,
            tracked.reading(now, usage) if usage else None,
            sum(len(group.pids()) for group in groups) if usage else 0,
            interfaces,
            [message for message, _ in inner],
        )
        return tracked.attributes + message

    def _layers(self, containers: Sequence[Container]) -> Layers:
        """What the writable layers take, as last counted; those that are new are waited for, but not long."""
        found = {container.id: self._layer(container) for container in containers}
        if None in found.values():
            self._meter.wait_counted()
            found = {container.id: self._layer(container) for container in containers}
        return found

    def _layer(self, container: Container) -> Measured | None:
        try:
            path = self._upper(container.id)
        except NotFound:  # being removed
            return None
        return self._meter.usage(container.id, path, still_since=container.finished_at)

    def _track(self, container: Container) -> Tracked:
        return self._tracking.get(
            container.id, lambda: (container_attributes(container), group_of(container.cgroup))
        )

    def _track_pod(self, pod: PodSandbox) -> Tracked:
        return self._tracking.get(pod.id, lambda: (pod_attributes(pod), self._pod_group(pod)))

    def _pod_group(self, pod: PodSandbox) -> str:
        try:
            return parent_group(pod.request().linux.cgroup_parent, systemd=self._systemd(pod.runtime_handler))
        except InvalidArgument:  # no container can be made in such a pod
            return ""


def by_pod(containers: Iterable[Container]) -> dict[str, list[Container]]:
    """The containers of each pod, by its id."""
    found: dict[str, list[Container]] = {}
    for container in containers:
        found.setdefault(container.sandbox_id, []).append(container)
    return found
