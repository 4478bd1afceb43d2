"""What NRI plugins may do to containers."""

from __future__ import annotations

from collections.abc import Sequence

from core.api.nri_types_pb2 import Container, ContainerUpdate, PodSandbox
from core.nri.nri import Runtime
from cri.container.deps import ContainerDeps
from cri.container.stop import stop_container
from cri.container.update import update_container


class PluginRuntime:
    """Implements core.nri.nri.Runtime."""

    def __init__(self, deps: ContainerDeps) -> None:
        self._deps = deps

    async def state(self) -> tuple[Sequence[PodSandbox], Sequence[Container]]:
        return await self._deps.nri.state()

    async def update(self, update: ContainerUpdate) -> None:
        await update_container(self._deps, update)

    async def evict(self, container_id: str) -> None:
        await stop_container(self._deps, container_id, 0)


_fits: type[Runtime] = PluginRuntime
