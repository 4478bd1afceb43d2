"""What a status call says of records, as ready bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from google.protobuf.message import Message

from cri.store.store import Store, T


class Ready(Generic[T]):
    """Of each record of one store: made when it is first asked for, and again when the record has changed."""

    def __init__(self, store: Store[T], make: Callable[[T], Message]) -> None:
        self._make = make
        self._made: dict[str, tuple[T, bytes]] = {}
        store.subscribe(self._on_change)

    def of(self, value: T) -> bytes:
        """The serialised message of `value`, which the store has."""
        known = self._made.get(value.id)
        if known is None or known[0] is not value:
            known = self._made[value.id] = value, self._make(value).SerializeToString()
        return known[1]

    def _on_change(self, before: T | None, _after: T | None) -> None:
        if before is not None:
            self._made.pop(before.id, None)
