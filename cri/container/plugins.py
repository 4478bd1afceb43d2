"""What NRI plugins may do to containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.errdefs import InvalidArgument
from core.nri.nri import Runtime
from cri.container.deps import ContainerDeps
from cri.container.stop import stop_container
from cri.container.update import change_limits

if TYPE_CHECKING:
    from core.api.nri_types_pb2 import Container, ContainerUpdate, PodSandbox


class PluginRuntime:
    """Implements core.nri.nri.Runtime."""

    def __init__(self, deps: ContainerDeps) -> None:
        self._deps = deps

    async def state(self) -> tuple[Sequence[PodSandbox], Sequence[Container]]:
        return await self._deps.nri.state()

    async def update(self, update: ContainerUpdate) -> None:
        deps, limits = self._deps, update.linux.resources
        if limits.HasField("blockio_class") or limits.HasField("rdt_class"):
            raise InvalidArgument(f"container {update.container_id}: its class cannot be changed any more")
        await deps.operations.finish(change_limits(deps, update.container_id, *deps.nri.wanted(limits)))

    async def evict(self, container_id: str) -> None:
        await stop_container(self._deps, container_id, 0)


_fits: type[Runtime] = PluginRuntime
