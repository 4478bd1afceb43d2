"""One update of each container out of those of all plugins."""

from __future__ import annotations

from collections.abc import Iterable

from core.api.nri_types_pb2 import ContainerUpdate, LinuxResources
from core.errdefs import FailedPrecondition, InvalidArgument
from core.nri.claims import Claims
from core.nri.limits import set_limits
from core.nri.owners import Owners


class Updates:
    """`new_id` is the container being created, which has its adjustment instead."""

    def __init__(self, owners: Owners, *, new_id: str = "") -> None:
        self._owners = owners
        self._new_id = new_id
        self._merged: dict[str, ContainerUpdate] = {}

    def add(self, asked: Iterable[ContainerUpdate], plugin: str) -> None:
        """Raises FailedPrecondition when two plugins contradict each other, unless failing does not matter."""
        for update in asked:
            if update.container_id == self._new_id:
                raise InvalidArgument(f"NRI plugin {plugin} updates container {self._new_id}, which it is to adjust")
            self._add(update, plugin)

    def start_with(self, container_id: str, resources: LinuxResources) -> None:
        """What is asked for in the first place."""
        self._merged[container_id] = ContainerUpdate(container_id=container_id, linux={"resources": resources})

    def wanted(self, container_id: str) -> LinuxResources:
        """Of that container, up to now."""
        return self._merged[container_id].linux.resources

    def take(self, container_id: str) -> LinuxResources:
        """What is wanted of that container, which is then no longer among all."""
        return self._merged.pop(container_id).linux.resources

    def all(self) -> list[ContainerUpdate]:
        return list(self._merged.values())

    def _add(self, update: ContainerUpdate, plugin: str) -> None:
        id_ = update.container_id
        merged = ContainerUpdate(container_id=id_, ignore_failure=update.ignore_failure)
        if id_ in self._merged:
            merged.CopyFrom(self._merged[id_])
            merged.ignore_failure = merged.ignore_failure and update.ignore_failure
        try:
            set_limits(Claims(self._owners, id_, plugin), update.linux.resources, merged.linux.resources)
        except FailedPrecondition:
            if not update.ignore_failure:
                raise
            return
        self._merged[id_] = merged
