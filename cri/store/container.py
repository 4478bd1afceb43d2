"""The record of a container. Its state is derived from its times, so the two cannot disagree.

    CREATED ──started_at──▶ RUNNING ──finished_at──▶ EXITED
       └───────────────finished_at (start failed)──────▲        UNKNOWN: its shim does not answer (`lost`)
"""

from __future__ import annotations

from dataclasses import dataclass, field

from core.types import Labels, no_labels
from cri import api


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMount:
    """An image that is mounted as a volume."""

    container_path: str
    """As the kubelet sent it."""
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    id: str
    sandbox_id: str
    name: str
    """Unique among containers: see `container_name`."""
    config: bytes
    """The api.ContainerConfig as the kubelet sent it, serialised."""
    image_id: str
    image_ref: str
    """What ContainerStatus.image_ref reports: a repo digest, or the id of an image without one."""
    image_name: str = ""
    """A tag of the image when the container was made, "" when it had none."""
    log_path: str
    """Absolute, "" when the kubelet wants no log."""
    cgroup: str
    """Where the container's cgroup is, as OCI's linux.cgroupsPath says it."""
    created_at: int
    """Nanoseconds since the epoch, as all times here; 0 is "not yet"."""
    started_at: int = 0
    finished_at: int = 0
    pid: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    stop_signal: int = 15
    user: bytes = b""
    """The effective api.ContainerUser, serialised."""
    resources: bytes = b""
    """The api.ContainerResources in force, serialised."""
    image_mounts: tuple[ImageMount, ...] = ()
    labels: Labels = field(default_factory=no_labels)
    lost: bool = False
    log_file: str = ""
    """`log_path` with the links on the way to the pod's log_directory followed; below that there must be none."""

    @property
    def state(self) -> api.ContainerState:
        if self.finished_at:
            return api.ContainerState.CONTAINER_EXITED
        if self.lost:
            return api.ContainerState.CONTAINER_UNKNOWN
        return api.ContainerState.CONTAINER_RUNNING if self.started_at else api.ContainerState.CONTAINER_CREATED

    @property
    def running(self) -> bool:
        return self.state == api.ContainerState.CONTAINER_RUNNING

    def request(self) -> api.ContainerConfig:
        return api.ContainerConfig.FromString(self.config)


def container_name(metadata: api.ContainerMetadata, pod_name: str) -> str:
    """The name that must be unique, as both peers build it."""
    return f"{metadata.name}_{pod_name}_{metadata.attempt}"


def list_item(container: Container) -> api.Container:
    """What ListContainers says of it."""
    config = container.request()
    return api.Container(
        id=container.id,
        pod_sandbox_id=container.sandbox_id,
        metadata=config.metadata,
        image=config.image,
        image_ref=container.image_id,
        image_id=container.image_id,
        state=container.state,
        created_at=container.created_at,
        labels=config.labels,
        annotations=config.annotations,
    )
