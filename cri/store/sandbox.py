"""The record of a pod sandbox. Its state is derived: READY until `stopped`, and never READY again."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.sandbox.controller import Sandbox
from core.types import Labels, no_labels
from cri import api


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandbox:
    id: str
    name: str
    """Unique among sandboxes: see `sandbox_name`."""
    config: bytes
    """The api.PodSandboxConfig as the kubelet sent it, with resources as it changed them since; serialised."""
    runtime_handler: str
    """As the kubelet sent it, "" for the default."""
    created_at: int
    """Nanoseconds since the epoch."""
    sandbox: Sandbox
    ips: tuple[str, ...] = ()
    network_result: bytes = b""
    """The CNI result document, b"" when the pod uses the node's network or attaching failed."""
    labels: Labels = field(default_factory=no_labels)
    stopped: bool = False

    @property
    def state(self) -> api.PodSandboxState:
        return api.PodSandboxState.SANDBOX_NOTREADY if self.stopped else api.PodSandboxState.SANDBOX_READY

    @property
    def host_network(self) -> bool:
        return "network" not in self.sandbox.namespaces

    def request(self) -> api.PodSandboxConfig:
        return api.PodSandboxConfig.FromString(self.config)


def sandbox_name(metadata: api.PodSandboxMetadata) -> str:
    """The name that must be unique, as both peers build it: a retry of one attempt has the same one."""
    return f"{metadata.name}_{metadata.namespace}_{metadata.uid}_{metadata.attempt}"


def list_item(pod: PodSandbox) -> api.PodSandbox:
    """What ListPodSandbox says of it."""
    config = pod.request()
    return api.PodSandbox(
        id=pod.id,
        metadata=config.metadata,
        state=pod.state,
        created_at=pod.created_at,
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=pod.runtime_handler,
    )
