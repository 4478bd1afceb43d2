"""Records in SQLite."""

from __future__ import annotations

from collections.abc import Iterable

from core.files.versioned import require_known
from core.metadata.database import Database
from core.metadata.records import VERSION, Record, RecordStore

# An update keeps the row and with it its age.
_PUT = """
    INSERT INTO record (kind, id, version, body) VALUES (?, ?, ?, ?)
    ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, body = excluded.body
"""


class SqliteRecords:
    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, *records: Record, durable: bool = False) -> None:
        rows = [(record.kind, record.id, record.version, record.body) for record in records]
        with self._database.transaction(durable=durable) as connection:
            connection.executemany(_PUT, rows)

    def delete(self, *keys: tuple[str, str]) -> None:
        with self._database.transaction() as connection:
            connection.executemany("DELETE FROM record WHERE kind = ? AND id = ?", keys)

    def load(self, kind: str) -> Iterable[Record]:
        with self._database.transaction() as connection:
            query = "SELECT id, version, body FROM record WHERE kind = ? ORDER BY sequence"
            rows = connection.execute(query, (kind,)).fetchall()
        for record_id, version, _ in rows:
            require_known(version, VERSION, f"record of {kind} {record_id}")
        return [Record(kind=kind, id=record_id, version=version, body=body) for record_id, version, body in rows]

    def set_aside(self, kind: str, record_id: str) -> Record | None:
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE OR REPLACE record SET kind = 'corrupt-' || kind WHERE kind = ? AND id = ?", (kind, record_id)
            )
        return None


_fits: type[RecordStore] = SqliteRecords
