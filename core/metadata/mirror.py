"""Records that outlive the loss of their database, as long as the node runs: a copy of each in the state directory.

    <state>/records/<kind>/<id>     0600: the record, as JSON

A copy is written after its row and removed before it. So a copy without a row means that the database has lost it, and
the row is made again; what runs under it is not touched. A reboot empties the directory and ends what it is for.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

import msgspec

from core.failpoint import failpoint
from core.files.atomic import write_atomic
from core.files.dirs import make_dirs
from core.files.versioned import decode_versioned
from core.log import get_logger
from core.metadata.records import VERSION, Record, RecordStore

log = get_logger(__name__)


class MirroredRecords:
    def __init__(self, records: RecordStore, directory: str) -> None:
        self._records = records
        self._directory = directory
        self._kinds: set[str] = set()
        """Those whose directory is made."""
        make_dirs(directory, 0o700)

    def put(self, *records: Record, durable: bool = False) -> None:
        self._records.put(*records, durable=durable)
        for record in records:
            self._copy(record)

    def delete(self, *keys: tuple[str, str]) -> None:
        for kind, record_id in keys:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(kind, record_id))
        failpoint("record.delete.copy")
        self._records.delete(*keys)

    def load(self, kind: str) -> Iterable[Record]:
        found = list(self._records.load(kind))
        known = {record.id for record in found}
        for record_id in sorted(set(self._copies(kind)) - known):
            record = self._read(kind, record_id)
            if record:
                log.warning("record was lost and is restored", kind=kind, id=record_id)
                self._records.put(record)
                found.append(record)
        return found

    def set_aside(self, kind: str, record_id: str) -> Record | None:
        self._records.set_aside(kind, record_id)
        record = self._read(kind, record_id)
        if record:
            self._records.put(record)
        return record

    def _copy(self, record: Record) -> None:
        """Missing, a copy makes the record only as safe as its row is."""
        try:
            failpoint("record.put.row")
            if record.kind not in self._kinds:
                make_dirs(os.path.join(self._directory, record.kind), 0o700)
                self._kinds.add(record.kind)
            write_atomic(self._path(record.kind, record.id), msgspec.json.encode(record), durable=False)
        except OSError as exc:
            log.warning("no copy of record", kind=record.kind, id=record.id, error=exc)

    def _copies(self, kind: str) -> list[str]:
        """Ids of what is whole. What a crash has left half written is removed."""
        directory = os.path.join(self._directory, kind)
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            return []
        for name in names:
            if name.startswith("."):
                with contextlib.suppress(OSError):  # the next start tries again
                    os.unlink(os.path.join(directory, name))
        return [name for name in names if not name.startswith(".")]

    def _read(self, kind: str, record_id: str) -> Record | None:
        try:
            with open(self._path(kind, record_id), "rb") as file:
                return decode_versioned(file.read(), Record, VERSION, file.name)
        except (OSError, msgspec.MsgspecError) as exc:
            log.warning("no copy of record", kind=kind, id=record_id, error=exc)
            return None

    def _path(self, kind: str, record_id: str) -> str:
        return os.path.join(self._directory, kind, record_id)


_fits: type[RecordStore] = MirroredRecords
