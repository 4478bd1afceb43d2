"""What every RecordStore does."""

import pytest

from core.metadata.database import Database
from core.metadata.records import Record
from core.metadata.sqlite_records import SqliteRecords


def record(record_id: str, kind: str = "sandbox", body: bytes = b"x") -> Record:
    return Record(kind=kind, id=record_id, body=body)


@pytest.fixture(params=["sqlite"])
def reopen(request, tmp_path):
    """Calling it gives a store as a restarted daemon sees it."""
    databases: list[Database] = []

    def open_again() -> SqliteRecords:
        for database in databases:
            database.close()
        databases.append(Database(str(tmp_path / "metadata.db")))
        return SqliteRecords(databases[-1])

    yield open_again
    for database in databases:
        database.close()


@pytest.mark.parametrize("durable", [False, True])
def test_a_record_outlives_the_daemon(reopen, durable):
    reopen().put(record("a", body=b"\0\xff"), durable=durable)
    assert list(reopen().load("sandbox")) == [record("a", body=b"\0\xff")]


def test_records_come_oldest_first_and_an_update_keeps_its_place(reopen):
    store = reopen()
    store.put(record("b"))
    store.put(record("a"), record("c"))
    store.put(record("b", body=b"new"))
    assert [(each.id, each.body) for each in store.load("sandbox")] == [
        ("b", b"new"),
        ("a", b"x"),
        ("c", b"x"),
    ]


def test_kinds_do_not_mix(reopen):
    store = reopen()
    store.put(record("a"), record("a", kind="container"))
    store.delete(("sandbox", "a"))
    assert list(store.load("sandbox")) == []
    assert list(store.load("container")) == [record("a", kind="container")]


def test_deleting_what_is_absent_succeeds(reopen):
    reopen().delete(("sandbox", "a"), ("sandbox", "b"))
    reopen().delete()


def test_a_put_of_several_is_all_or_nothing(reopen):
    store = reopen()
    wrong = Record(kind="sandbox", id="b", body=None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="NOT NULL"):
        store.put(record("a"), wrong)
    assert list(store.load("sandbox")) == []
