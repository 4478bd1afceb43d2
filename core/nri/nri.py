"""What plugins are told and asked, and what they may ask: the contract of both sides.

    plugin connects ──RegisterPlugin──▶ Configure ──▶ Synchronize ──▶ events, in the order of the plugins' indexes

A plugin learns of each pod and container once: from Synchronize, or from its creation; a creation during Synchronize
waits for it. It has one call at a time. One that does not answer in time is dropped, and named in the log: whoever
waits for it goes on as if it had not been there. One that answers with an error is right, and the operation fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from core.api.nri_types_pb2 import Container, ContainerAdjustment, ContainerUpdate, LinuxResources, PodSandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """How a plugin is received."""

    runtime_name: str
    runtime_version: str
    registration_timeout: float
    """Seconds to register, and again for Synchronize, which has more to do than other requests."""
    request_timeout: float
    """Seconds for each request."""


class Nri(Protocol):
    """Every call asks all plugins that want the event; it raises the error of the first that refuses, with its name.

    What they want of other containers is done before the call returns, but for `stop`; where that fails it is reported.
    """

    @property
    def idle(self) -> bool:
        """Whether there is no plugin, and so nothing to tell."""

    async def notify(self, method: str, pod: PodSandbox, container: Container | None = None) -> None:
        """Tell of an event, by the `method` of plugins for it, that they answer with nothing but an error."""

    async def update_pod(self, pod: PodSandbox, overhead: LinuxResources, resources: LinuxResources) -> None:
        """Tell of UpdatePodSandboxResources before it is done."""

    async def create(self, pod: PodSandbox, container: Container) -> ContainerAdjustment:
        """What all plugins want changed in `container`, which changes as they are asked.

        Raises FailedPrecondition when two of them contradict each other, or one that validates says no.
        """

    async def update(self, pod: PodSandbox, container: Container, resources: LinuxResources) -> LinuxResources:
        """`resources` as the plugins want them. Raises as `create`."""

    async def stop(self, pod: PodSandbox, container: Container) -> None:
        """Tell of a container that has ended."""


class Runtime(Protocol):
    """What the plugins' side asks of the runtime."""

    async def state(self) -> tuple[Sequence[PodSandbox], Sequence[Container]]:
        """Pods, and containers that are created or running, as they are when it is called; also those whose creation
        plugins have been asked about and that have no record yet."""

    async def update(self, update: ContainerUpdate) -> None:
        """Change the limits of a container. Raises CrispError; nothing has changed then."""

    async def evict(self, container_id: str) -> None:
        """End a container. Success when there is none. Raises CrispError."""
