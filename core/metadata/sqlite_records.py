"""Records in SQLite."""

from __future__ import annotations

from collections.abc import Iterable

from core.log import get_logger
from core.metadata.database import Database
from core.metadata.records import Record, RecordState, RecordStore

log = get_logger(__name__)

# An update keeps the row and with it its age.
_PUT = """
    INSERT INTO record (kind, id, state, version, body) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (kind, id) DO UPDATE SET state = excluded.state, version = excluded.version, body = excluded.body
"""


class SqliteRecords:
    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, *records: Record, durable: bool = False) -> None:
        rows = [(record.kind, record.id, record.state.value, record.version, record.body) for record in records]
        with self._database.transaction(durable=durable) as connection:
            connection.executemany(_PUT, rows)

    def delete(self, *keys: tuple[str, str]) -> None:
        with self._database.transaction() as connection:
            connection.executemany("DELETE FROM record WHERE kind = ? AND id = ?", keys)

    def load(self, kind: str) -> Iterable[Record]:
        """Rows that make no sense are logged and left out, so that one of them cannot keep the daemon from starting."""
        with self._database.transaction() as connection:
            query = "SELECT id, state, version, body FROM record WHERE kind = ? ORDER BY sequence"
            rows = connection.execute(query, (kind,)).fetchall()
        records = []
        for record_id, state, version, body in rows:
            if state in RecordState.__members__.values():
                state = RecordState(state)  # noqa: PLW2901 the same value, checked
                records.append(Record(kind=kind, id=record_id, state=state, version=version, body=body))
            else:
                log.error("record in an unknown state is ignored", kind=kind, id=record_id, state=state)
        return records

    def set_aside(self, kind: str, record_id: str) -> Record | None:
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE OR REPLACE record SET kind = 'corrupt-' || kind WHERE kind = ? AND id = ?", (kind, record_id)
            )
        return None


_fits: type[RecordStore] = SqliteRecords
