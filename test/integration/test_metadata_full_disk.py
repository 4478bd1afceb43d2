"""A full disk must not keep anything from being removed."""

import os

import pytest

from core.errdefs import ResourceExhausted
from core.linux.mount import mount, umount_all
from core.metadata.database import Database
from core.metadata.records import Record
from core.metadata.sqlite_records import SqliteRecords

pytestmark = pytest.mark.root


@pytest.fixture
def small_disk(tmp_path):
    mount("tmpfs", str(tmp_path), "tmpfs", 0, "size=16m")
    yield tmp_path
    umount_all(str(tmp_path))


def fill(path) -> None:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while os.write(fd, b"\0" * 4096):
            pass
    except OSError:
        pass
    finally:
        os.close(fd)


def test_on_a_full_disk_rows_can_be_deleted_and_new_ones_are_refused_cleanly(small_disk):
    database = Database(str(small_disk / "metadata.db"))
    store = SqliteRecords(database)
    try:
        for number in range(100):
            store.put(Record(kind="container", id=str(number), body=b"x" * 4000))
        fill(small_disk / "ballast")
        for number in range(50):
            store.put(Record(kind="container", id=str(number), body=b"y"))
            store.delete(("container", str(number)))
        with pytest.raises(ResourceExhausted):
            for number in range(10_000):
                store.put(Record(kind="container", id=f"new {number}", body=b"x" * 40_000))
        os.unlink(small_disk / "ballast")
        store.put(Record(kind="container", id="after", body=b""))
        assert {record.id for record in store.load("container")} >= {"99", "after"}
    finally:
        database.close()
