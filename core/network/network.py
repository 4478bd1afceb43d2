"""The network of pods: attach a network namespace, detach it, and never forget an attachment.

Two implementations stand behind this contract: `cni` runs the node's CNI plugins (CNI spec 1.1), `builtin` is a bridge
over netlink. An attachment is recorded before the first plugin runs and forgotten only when detaching has succeeded,
so an address cannot leak (hazards 3.2, 3.22).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from core.types import Labels, no_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    protocol: str
    """`tcp`, `udp` or `sctp`."""
    container_port: int
    host_port: int
    host_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """What a pod asks of its network."""

    id: str
    """The sandbox id: CNI_CONTAINERID."""
    name: str
    namespace: str
    uid: str
    netns: str
    """Path of the pinned namespace; "" when it is gone, which detach must survive."""
    port_mappings: tuple[PortMapping, ...] = ()
    annotations: Labels = field(default_factory=no_labels)
    cgroup_parent: str = ""
    dns_servers: tuple[str, ...] = ()
    dns_searches: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkResult:
    ips: tuple[str, ...]
    """Addresses of the pod without prefix, the primary one first."""
    interface: str
    """Name of the interface that carries them, `eth0`."""
    raw: bytes
    """The CNI result document (JSON, spec 1.1), for verbose status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkStatus:
    ready: bool
    reason: str = ""
    """CamelCase, as in CRI's RuntimeCondition."""
    message: str = ""


class Network(Protocol):
    async def attach(self, pod: PodNetwork) -> NetworkResult:
        """Connect the pod and bring its `eth0` up (`lo` is the sandbox's own affair).

        Idempotent: a recorded result is returned again. On failure everything is undone, or recorded for retry.
        Raises Unavailable (no network configured, plugin failed: the message has the plugin's own words),
        DeadlineExceeded (plugin hangs; its process group was killed), ResourceExhausted (no address left).
        """

    async def detach(self, pod: PodNetwork) -> None:
        """Disconnect; success when it is not attached. On failure the attachment stays recorded and is retried in the
        background. Raises Unavailable, DeadlineExceeded."""

    def status(self) -> NetworkStatus:
        """From memory; the configuration is watched."""

    def held(self) -> frozenset[str]:
        """The ids of all pods that are attached, or may still be."""

    async def check(self, pod_id: str) -> None:
        """Return when the pod is attached as `attach` has left it; nothing is changed.

        Raises NotFound when it is not attached, Unavailable or DeadlineExceeded with what is wrong.
        """

    async def collect(self, gone: Collection[str]) -> None:
        """Detach the pods of these ids, which are no more, and CNI GC all but the others that are held."""
