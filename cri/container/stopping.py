"""Which containers have had their stop signal."""

from __future__ import annotations


class Stopping:
    """Containers that were asked to end. A signal is sent once per container, as both peers do."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def begin(self, container_id: str) -> bool:
        """Whether this is the first to ask."""
        first = container_id not in self._asked
        self._asked.add(container_id)
        return first

    def forget(self, container_id: str) -> None:
        self._asked.discard(container_id)
