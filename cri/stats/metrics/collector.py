"""From records to metrics: reads all that control groups, /proc and filesystems tell. It belongs to one thread, and
blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence

from core.cgroups.cgroups import Group
from core.files.meter import Measured
from core.linux.block import device_name
from core.linux.proc import open_files, soft_limit_of_files
from core.network.netns import interface_stats
from cri import api
from cri.stats.layers import Layers
from cri.stats.metrics.families import encode
from cri.stats.metrics.family import Disk, Processes, Source
from cri.stats.tracking import Tracking
from cri.store.container import Container
from cri.store.sandbox import PodSandbox
from cri.store.store import frame

_CONTAINERS = api.PodSandboxMetrics.DESCRIPTOR.fields_by_name["container_metrics"].number


class MetricsCollector:
    def __init__(self, tracking: Tracking, layers: Layers, clock: Callable[[], int]) -> None:
        self._tracking = tracking
        self._layers = layers
        self._clock = clock

    def pod(self, pod: PodSandbox, containers: Sequence[Container], owners: Collection[str]) -> bytes:
        """PodSandboxMetrics: of the pod as a whole and of each container that runs. `owners` are the pods whose control
        group is no other's."""
        config = pod.request()
        where = (config.metadata.name, config.metadata.namespace)
        tracked, netns = self._tracking.pod(pod), pod.sandbox.netns
        source = Source(
            at=self._clock(),
            started_at=pod.created_at,
            details=tracked.details() if pod.id in owners else None,
            interfaces=interface_stats([netns]).get(netns) if netns else None,
        )
        running = [container for container in containers if container.running]
        layers = self._layers.of(running)
        return b"".join(
            (
                api.PodSandboxMetrics(pod_sandbox_id=pod.id).SerializeToString(),
                encode(source, (tracked.path, pod.id, "", "", *where)),
                *(frame(self._container(one, layers[one.id], where), _CONTAINERS) for one in running),
            )
        )

    def _container(self, container: Container, layer: Measured | None, where: tuple[str, str]) -> bytes:
        """ContainerMetrics; without metrics when the container ended while it was read."""
        tracked, config = self._tracking.container(container), container.request()
        message = api.ContainerMetrics(container_id=container.id).SerializeToString()
        details = tracked.details()
        if details is None or tracked.group is None:
            return message
        source = Source(
            at=self._clock(),
            started_at=container.started_at,
            details=details,
            processes=_processes(tracked.group, container.pid),
            disk=_disk(self._layers.root, layer),
        )
        image = config.image.user_specified_image or config.image.image
        return message + encode(source, (tracked.path, container.id, image, config.metadata.name, *where))


def _processes(group: Group, first: int) -> Processes:
    pids = group.pids()
    opened = [open_files(pid) for pid in pids]
    return Processes(
        count=len(pids),
        open_files=sum(count for count, _ in opened),
        sockets=sum(sockets for _, sockets in opened),
        open_files_limit=soft_limit_of_files(first),
    )


def _disk(root: str, layer: Measured | None) -> Disk:
    filesystem, device = os.statvfs(root), os.stat(root).st_dev
    return Disk(
        device=device_name(os.major(device), os.minor(device)),
        used=layer.size if layer else None,
        size=filesystem.f_blocks * filesystem.f_frsize,
        inodes=filesystem.f_files,
        free_inodes=filesystem.f_ffree,
    )


