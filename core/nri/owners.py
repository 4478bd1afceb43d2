"""Who has set what: two plugins that set the same thing contradict each other, and neither can know."""

from __future__ import annotations

from core.api import nri_types_pb2 as types
from core.errdefs import FailedPrecondition


class Owners:
    """Of what was asked of containers in one request."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, types.Field, str], str] = {}

    def claim(self, container_id: str, field: types.Field, plugin: str, entry: str = "") -> None:
        """`plugin` sets `field`, or that `entry` of it. Raises FailedPrecondition when another one has."""
        owner = self._owners.setdefault((container_id, field, entry), plugin)
        if owner != plugin:
            what = f"{types.Field.Name(field)} {entry[:160]}".strip()
            raise FailedPrecondition(
                f"NRI plugins {owner} and {plugin} both set {what} of container {container_id}: let one of them do it"
            )

    def note(self, container_id: str, field: types.Field, plugin: str) -> None:
        """`plugin` adds to `field`, as others may have done."""
        key = (container_id, field, "")
        known = self._owners.get(key, "")
        self._owners[key] = f"{known},{plugin}" if known else plugin

    def clear(self, container_id: str, field: types.Field, entry: str = "") -> None:
        """Nobody sets it any more."""
        self._owners.pop((container_id, field, entry), None)

    def message(self) -> types.OwningPlugins:
        """For plugins that validate."""
        found = types.OwningPlugins()
        for (container_id, field, entry), plugin in self._owners.items():
            fields = found.owners[container_id]
            if entry:
                fields.compound[field].owners[entry] = plugin
            else:
                fields.simple[field] = plugin
        return found
