import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from core.errdefs import FailedPrecondition, NotFound, Unavailable
from core.metadata.database import MIGRATIONS, Database
from core.metadata.images import SqliteImages
from core.metadata.records import Record
from core.metadata.sqlite_records import SqliteRecords


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "metadata.db")


def put_one(path) -> None:
    database = Database(path)
    SqliteRecords(database).put(Record(kind="sandbox", id="a", body=b"x"))
    database.close()


def ids(path) -> list[str]:
    database = Database(path)
    try:
        return [record.id for record in SqliteRecords(database).load("sandbox")]
    finally:
        database.close()


@pytest.mark.parametrize("damage", [b"not a database at all" * 1000, b"\xff" * 8192])
def test_a_corrupt_file_is_set_aside_and_a_new_one_begun(path, tmp_path, caplog, damage):
    for number in (1, 2):
        put_one(path)
        with open(path, "wb") as file:
            file.write(damage)
        assert ids(path) == []
        assert (tmp_path / f"metadata.db.corrupt-{number}").read_bytes() == damage
    assert "metadata is corrupt" in caplog.text


def test_a_damaged_page_is_found_at_open(path, tmp_path):
    database = Database(path)
    records = [Record(kind="sandbox", id=f"{n:064}", body=b"x" * 500) for n in range(200)]
    SqliteRecords(database).put(*records)
    database.close()
    with open(path, "r+b") as file:
        for page in range(2, 30):
            file.seek(page * 4096)
            file.write(b"\xaa" * 2048)
    assert ids(path) == []
    assert (tmp_path / "metadata.db.corrupt-1").exists()


def test_an_empty_file_is_a_new_database(path, tmp_path):
    (tmp_path / "metadata.db").touch()
    assert ids(path) == []


def test_the_files_are_for_the_daemon_alone(path, tmp_path):
    database = Database(path)
    try:
        assert {os.stat(tmp_path / name).st_mode & 0o777 for name in os.listdir(tmp_path)} == {0o600}
    finally:
        database.close()


def test_a_newer_schema_is_refused_and_left_alone(path):
    put_one(path)
    with pytest.raises(FailedPrecondition, match="newer Crisp"):
        Database(path, MIGRATIONS[:0])
    assert ids(path) == ["a"]


def test_a_migration_runs_once_and_keeps_the_rows(path):
    put_one(path)
    longer = (*MIGRATIONS, "ALTER TABLE record ADD COLUMN extra TEXT; CREATE TABLE more (x INTEGER) STRICT")
    for _ in range(2):
        database = Database(path, longer)
        with database.transaction() as connection:
            assert connection.execute("SELECT id, extra FROM record").fetchall() == [("a", None)]
        database.close()


def test_rows_of_the_first_schema_are_read(path):
    Database(path, MIGRATIONS[:1]).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO record VALUES (1, 'sandbox', 'a', 'ready', 1, x'00')")
    connection.close()
    database = Database(path)
    assert list(SqliteRecords(database).load("sandbox")) == [Record(kind="sandbox", id="a", body=b"\0")]
    database.close()


def test_a_failed_migration_changes_nothing(path):
    put_one(path)
    with pytest.raises(Unavailable):
        Database(path, (*MIGRATIONS, "CREATE TABLE more (x INTEGER); SELECT nonsense"))
    Database(path, (*MIGRATIONS, "CREATE TABLE more (x INTEGER)")).close()


def test_a_second_daemon_is_refused(path):
    database = Database(path)
    code = f"from core.metadata.database import Database; Database({path!r})"
    try:
        other = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    finally:
        database.close()
    assert "Unavailable: metadata: database is locked" in other.stderr


def test_what_was_committed_survives_kill_9(path):
    code = f"""
import os, signal
from core.metadata.database import Database
from core.metadata.records import Record
from core.metadata.sqlite_records import SqliteRecords
store = SqliteRecords(Database({path!r}))
store.put(Record(kind="sandbox", id="a", body=b"x"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert ids(path) == ["a"]


def test_a_block_that_raises_is_rolled_back(path):
    database = Database(path)
    with pytest.raises(NotFound), database.transaction() as connection:
        connection.execute("INSERT INTO image VALUES ('a', x'00')")
        raise NotFound("b")
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM image").fetchone() == (0,)
    database.close()
    with pytest.raises(Unavailable), database.transaction():
        pass


def test_transactions_of_threads_take_turns(path):
    database = Database(path)
    store = SqliteRecords(database)

    def write(name: str) -> None:
        for number in range(50):
            store.put(Record(kind="sandbox", id=f"{name}{number}", body=b""))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.load("sandbox"))) == 200
    database.close()


def test_an_image_that_makes_no_sense_is_left_out_and_logged(path, caplog):
    put_one(path)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO image VALUES ('sha256:x', x'7b7d')")
    connection.close()
    assert ids(path) == ["a"]
    database = Database(path)
    assert SqliteImages(database).list() == ()
    database.close()
    assert "pull it again" in caplog.text
