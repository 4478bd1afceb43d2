"""Records: the rows behind sandboxes, containers and network attachments.

A record is a kind, an id, a state and a body that only its owner reads. Write ahead, then act, then commit: the row
comes first in state `creating`, becomes `ready` when the side effects (all derivable from the id) are done, `removing`
before they are undone, and is deleted last. `unfinished` states at start tell what a crash interrupted.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class RecordState(enum.StrEnum):
    CREATING = "creating"
    READY = "ready"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    kind: str
    """`sandbox`, `container`, `attachment`, …"""
    id: str
    state: RecordState
    body: bytes
    version: int = 1
    """Schema of `body`; its owner reads every version up to its own."""


class RecordStore(Protocol):
    """All calls block; the daemon makes them from its metadata executor."""

    def put(self, *records: Record, durable: bool = False) -> None:
        """Insert or replace, all in one transaction; a replaced one keeps its place in `load`.

        Survives a crash of the process when it returns, with `durable` also a power cut. Raises ResourceExhausted (disk
        full), Unavailable (store failing).
        """

    def delete(self, *keys: tuple[str, str]) -> None:
        """Delete by (kind, id), all in one transaction; absent ones are no error."""

    def load(self, kind: str) -> Iterable[Record]:
        """All records of a kind, oldest first."""

    def set_aside(self, kind: str, record_id: str) -> Record | None:
        """Keep a record that makes no sense to its owner for a human only, as kind `corrupt-<kind>`.

        Returns what takes its place, if there is a copy.
        """
