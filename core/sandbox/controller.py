"""Sandboxes: the namespaces, cgroup parent and processes that the containers of one pod share.

Two controllers stand behind this contract: `pinned` (default) holds namespaces by bind mounts and a shim, without a
pause container; `pause` runs a root container for handlers that need one; `choice` has both. The network is not theirs:
whoever runs a pod attaches `Sandbox.netns` afterwards.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from core.types import Labels, no_labels


class NamespaceMode(enum.StrEnum):
    """CRI NamespaceMode, for each of the shared namespaces of a pod."""

    POD = "pod"
    CONTAINER = "container"
    NODE = "node"
    TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMapping:
    """One line of a user namespace's uid_map or gid_map."""

    host_id: int
    container_id: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    id: str
    runtime_handler: str
    hostname: str = ""
    """Set in the pod's UTS namespace; "" when the pod uses the node's."""
    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    uid_mappings: tuple[IdMapping, ...] = ()
    """Not empty: the pod has its own user namespace, which owns the others."""
    gid_mappings: tuple[IdMapping, ...] = ()
    sysctls: Labels = field(default_factory=no_labels)
    """Already checked to belong to a namespace of the pod."""
    shm_size: int = 64 << 20
    """Bytes of the pod's /dev/shm."""
    cgroup_parent: str = ""
    """Of a root container, as CRI names it."""
    annotations: Labels = field(default_factory=no_labels)
    """Of a root container's OCI spec: who the pod is, for shims and agents."""

    @property
    def shared(self) -> tuple[str, ...]:
        """The OCI namespace types that the pod has for itself and its containers share."""
        wanted = {
            "network": self.network is NamespaceMode.POD,
            "ipc": self.ipc is NamespaceMode.POD,
            "uts": bool(self.hostname),
            "pid": self.pid is NamespaceMode.POD,
            "user": bool(self.uid_mappings),
        }
        return tuple(kind for kind, own in wanted.items() if own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    id: str
    pid: int
    """The shim, or the pod's init or root container where the pod has one."""
    namespaces: Mapping[str, str]
    """OCI namespace type (`network`, `ipc`, `uts`, `user`, `pid`) to the path that pins it; only what the pod has."""
    created_at: float
    shm: str = ""
    """The directory to bind at /dev/shm; "" when the node's is used."""

    @property
    def netns(self) -> str:
        return self.namespaces.get("network", "")


class SandboxController(Protocol):
    """Every call is idempotent by id."""

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Make the namespaces and what holds them. On failure nothing is left."""

    async def alive(self, sandbox_id: str) -> bool:
        """Whether the sandbox's processes run and its namespaces are still the ones that were made."""

    async def stop(self, sandbox_id: str) -> None:
        """End the sandbox's own processes, unpin its namespaces; its containers must be stopped. Success when gone."""

    async def remove(self, sandbox_id: str) -> None:
        """Stop, end the shim and remove the sandbox's directories. Success when gone."""

    async def list(self) -> list[str]:
        """The ids of all sandboxes that left anything on disk, with or without a record elsewhere."""
