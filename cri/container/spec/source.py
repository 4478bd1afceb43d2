"""What an OCI spec is made from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.images.images import Image
from core.linux.cgroup import CgroupLayout
from core.oci import apparmor, capabilities, oom
from cri import api
from cri.store.sandbox import PodSandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of this node, read once: none of it changes while a daemon runs."""

    layout: CgroupLayout
    swap: bool
    """Whether the kernel counts swap: writing that limit where it does not is an error."""
    oom_score_floor: int
    """The lowest oom_score_adj that crispd may give."""
    capabilities: frozenset[str]
    """What crispd has, and so the most that it can give."""
    apparmor: bool
    selinux: bool

    @classmethod
    def read(cls) -> Facts:
        layout = CgroupLayout.read()
        return cls(
            layout=layout,
            swap=_swap_counted(layout),
            oom_score_floor=oom.floor(),
            capabilities=capabilities.available(),
            apparmor=apparmor.enabled(),
            selinux=os.path.exists("/sys/fs/selinux/enforce"),
        )


def _swap_counted(layout: CgroupLayout) -> bool:
    memory = layout.controllers.get("memory")
    if memory:
        return os.path.exists(f"{memory.mount_point}/memory.memsw.limit_in_bytes")
    return os.path.exists("/proc/swaps")  # v2 has no such file in its root group; it counts when the kernel can swap


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One container to be."""

    container_id: str
    config: api.ContainerConfig
    """As the kubelet sent it."""
    paths: Mapping[str, str]
    """By container_path of its mounts, what is to be mounted there: real paths of the node."""
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
    """Patterns of annotations that the handler lets through."""
    ulimits: tuple[str, ...]
    """The handler's, like `nofile=1024:4096`."""
    cdi_dirs: tuple[str, ...]
    """Where vendors describe their devices; those in the last one count most."""
    blockio_file: str
    """Where block I/O classes are described, "" for none."""
    device_ownership: bool
    """Whether devices belong to the container's user."""
    target_pid: int
    """First process of the container whose PID namespace this one joins, 0 for none."""
    facts: Facts

    @property
    def security(self) -> api.LinuxContainerSecurityContext:
        return self.config.linux.security_context
