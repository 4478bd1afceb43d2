"""Records whose database is lost."""

from dataclasses import replace

import msgspec
import pytest

from core.errdefs import FailedPrecondition
from core.metadata.database import Database
from core.metadata.mirror import MirroredRecords
from core.metadata.records import VERSION, Record
from core.metadata.sqlite_records import SqliteRecords


def record(number):
    return Record(kind="pod", id=f"pod{number}", body=b"\x00 body %d" % number, version=0)


@pytest.fixture
def open_records(tmp_path):
    opened = []

    def open_(database="metadata.db"):
        opened.append(Database(str(tmp_path / database)))
        return MirroredRecords(SqliteRecords(opened[-1]), str(tmp_path / "records"))

    yield open_
    for database in opened:
        database.close()


def test_what_the_database_has_lost_is_restored_and_what_was_deleted_is_not(open_records):
    records = open_records()
    records.put(record(1), record(2), record(3))
    records.delete(("pod", "pod2"))
    fresh = open_records("another.db")
    assert list(fresh.load("pod")) == [record(1), record(3)]
    assert list(fresh.load("container")) == []
    assert list(SqliteRecords(fresh._records._database).load("pod")) == [record(1), record(3)]


def test_a_record_that_is_set_aside_comes_back_from_its_copy(open_records):
    records = open_records()
    records.put(record(1))
    assert records.set_aside("pod", "pod1") == record(1)
    assert list(records.load("pod")) == [record(1)]
    assert [one.body for one in records.load("corrupt-pod")] == [record(1).body]


def test_a_copy_that_makes_no_sense_is_no_record(open_records, tmp_path):
    records = open_records()
    records.put(record(1))
    (tmp_path / "records/pod/pod1").write_bytes(b"\x00")
    assert list(open_records("another.db").load("pod")) == []
    assert records.set_aside("pod", "pod1") is None
    assert list(records.load("pod")) == []


def test_a_record_of_a_newer_version_is_refused_and_left_alone(open_records, tmp_path):
    newer, records = replace(record(1), version=VERSION + 1), open_records()
    records.put(newer)
    for holder in (records, open_records("another.db")):  # its row, its copy
        with pytest.raises(FailedPrecondition, match="install the newer Crisp again"):
            holder.load("pod")
    assert msgspec.json.decode((tmp_path / "records/pod/pod1").read_bytes(), type=Record) == newer


def test_what_a_crash_has_left_half_written_is_removed_by_the_next_start(open_records, tmp_path):
    open_records().put(record(1))
    (tmp_path / "records/pod/.pod2.new").write_bytes(b"half")
    assert list(open_records("another.db").load("pod")) == [record(1)]
    assert [path.name for path in (tmp_path / "records/pod").iterdir()] == ["pod1"]


def test_copies_are_for_root_alone(open_records, tmp_path):
    open_records().put(record(1))
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "records", tmp_path / "records/pod/pod1")]
    assert modes == [0o700, 0o600]
