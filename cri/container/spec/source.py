"""What an OCI spec is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.images.images import Image
from core.linux.cgroup import CgroupLayout
from cri import api
from cri.store.sandbox import PodSandbox

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of this node, read once."""

    layout: CgroupLayout
    oom_score_floor: int
    """The lowest oom_score_adj that crispd may give."""
    apparmor: bool
    selinux: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One container to be."""

    container_id: str
    config: api.ContainerConfig
    pod: PodSandbox
    pod_config: api.PodSandboxConfig
    image: Image
    image_config: Mapping[str, Any]
    """The `config` part of the image's config document."""
    rootfs: str
    """Where the root filesystem is mounted."""
    etc: str
    """Directory of the pod's hosts, hostname and resolv.conf."""
    systemd_cgroup: bool
    pod_annotations: tuple[str, ...]
    """Patterns of pod annotations that the handler lets through."""
    target_pid: int
    """First process of the container whose PID namespace this one joins, 0 for none."""
    facts: Facts

    @property
    def security(self) -> api.LinuxContainerSecurityContext:
        return self.config.linux.security_context
