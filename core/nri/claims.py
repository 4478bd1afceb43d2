"""What one plugin claims to set."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from core.api import nri_types_pb2 as types
from core.nri.owners import Owners


class Claims:
    """Of one container."""

    def __init__(self, owners: Owners, container_id: str, plugin: str) -> None:
        self._owners = owners
        self._id = container_id
        self._plugin = plugin

    def one(self, field: types.Field, entry: str = "") -> None:
        """Raises FailedPrecondition as `Owners.claim`."""
        self._owners.claim(self._id, field, self._plugin, entry)

    def note(self, field: types.Field) -> None:
        self._owners.note(self._id, field, self._plugin)

    def clear(self, field: types.Field, entry: str = "") -> None:
        self._owners.clear(self._id, field, entry)

    def fields(self, asked: Message, fields: Mapping[str, types.Field], *targets: Message) -> None:
        """Copy what is set of `fields` in `asked` to `targets`, as far as they have such a field."""
        for descriptor, value in asked.ListFields():
            if descriptor.name not in fields:
                continue
            self.one(fields[descriptor.name])
            for target in targets:
                if descriptor.name not in target.DESCRIPTOR.fields_by_name:
                    continue
                if isinstance(value, Message):
                    getattr(target, descriptor.name).CopyFrom(value)
                else:
                    setattr(target, descriptor.name, value)
