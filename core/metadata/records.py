"""Records: the rows behind sandboxes, containers and leases.

A record is a kind, an id and a body that only its owner reads. It is written when its object is whole and deleted when
nothing of that is left: what lies on disk without one is the leftover of a crash (ADR 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

VERSION = 1
"""Of what this crispd writes into bodies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    kind: str
    """`sandbox`, `container`, `lease`."""
    id: str
    body: bytes
    version: int = VERSION
    """Schema of `body`; its owner reads every version up to VERSION."""


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
        """All records of a kind, oldest first.

        Raises FailedPrecondition when a newer crispd has written one: to go on without it would end what it stands for.
        """

    def set_aside(self, kind: str, record_id: str) -> Record | None:
        """Keep a record that makes no sense to its owner for a human only, as kind `corrupt-<kind>`.

        Returns what takes its place, if there is a copy.
        """
