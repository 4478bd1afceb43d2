"""metadata.db: one SQLite file with all that must outlive the daemon and cannot be read from anything else.

    metadata.db              the rows
    metadata.db-wal          what was committed since the last checkpoint; gone after a clean end
    metadata.db.corrupt-<n>  a file that failed its check, set aside with its -wal for a human to look at

A crash at any point leaves a file that opens as of the last commit. Why commits are not synced unless asked: ADR 2.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence

from core.errdefs import CrispError, FailedPrecondition, ResourceExhausted, Unavailable
from core.linux.fs import FALLOC_FL_KEEP_SIZE, fallocate
from core.log import get_logger

log = get_logger(__name__)

# Entry n brings version n to n + 1 (PRAGMA user_version). Entries are never changed once released.
MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE record (
        sequence INTEGER PRIMARY KEY,
        kind     TEXT NOT NULL,
        id       TEXT NOT NULL,
        state    TEXT NOT NULL,
        version  INTEGER NOT NULL,
        body     BLOB NOT NULL,
        UNIQUE (kind, id)
    ) STRICT;
    CREATE TABLE image (
        id   TEXT PRIMARY KEY,
        body BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    "ALTER TABLE record DROP COLUMN state",  # it was `ready` in every row
)

# Bytes kept for the write-ahead log, so that removing things works on a full disk: SQLite checkpoints it at 1000 pages
# of 4 KiB and then writes it from its start again.
_WAL_RESERVE = 5 << 20

_SETTINGS = """
    PRAGMA locking_mode = EXCLUSIVE;  -- one daemon per root; spares the shared-memory file and three locks per commit
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
"""


class Database:
    """One connection. Thread-safe: transactions take turns."""

    def __init__(self, path: str, migrations: Sequence[str] = MIGRATIONS) -> None:
        """Open `path`, made if absent and set aside if corrupt.

        Raises FailedPrecondition (written by a newer version), Unavailable (another process has it, or the disk fails).
        """
        self._mu = threading.Lock()
        self._failing = False
        """Whether the last transaction could not be made."""
        try:
            self._connection = _open(path)
        except sqlite3.DatabaseError as exc:
            if isinstance(exc, sqlite3.OperationalError):  # busy, not readable: the file itself may be sound
                raise _translate(exc) from exc
            _set_aside(path, exc)
            self._connection = _open(path)
        self._wal = -1
        try:
            self._migrate(path, migrations)
            self._wal = os.open(f"{path}-wal", os.O_WRONLY | os.O_CLOEXEC)
        except BaseException:
            self._connection.close()
            raise
        _reserve(self._wal)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """All or nothing; with `durable`, on disk when the block ends. Raises ResourceExhausted, Unavailable."""
        with self._mu:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
                self._failing = False
            except sqlite3.Error as exc:
                self._failing = True
                raise _translate(exc) from exc
            finally:
                with contextlib.suppress(sqlite3.Error):  # closed, or the disk has failed already
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
            if durable:
                self._sync()

    def check(self) -> None:
        """Look whether it can be written again when it could not at last. Raises ResourceExhausted, Unavailable."""
        if self._failing:
            with self.transaction() as connection:
                _touch(connection)

    def close(self) -> None:
        """Idempotent."""
        with self._mu:
            self._connection.close()
            if self._wal >= 0:
                os.close(self._wal)
            self._wal = -1

    def _sync(self) -> None:
        """Make all commits durable: those in the log now, those that a checkpoint has moved on were synced by it."""
        try:
            os.fdatasync(self._wal)
        except OSError as exc:
            self._failing = True
            kind = ResourceExhausted if exc.errno == errno.ENOSPC else Unavailable
            raise kind(f"metadata: {exc.strerror}") from exc

    def _migrate(self, path: str, migrations: Sequence[str]) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise FailedPrecondition(
                f"{path} has schema {version}, this version knows {len(migrations)}: install the newer Crisp again"
            )
        for number, script in enumerate(migrations[version:], version + 1):
            with self.transaction() as connection:
                for statement in filter(str.strip, script.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
        with self.transaction() as connection:  # makes the log, or tells that the disk cannot be written
            _touch(connection)


def _touch(connection: sqlite3.Connection) -> None:
    """Write something that changes nothing."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")


def _open(path: str) -> sqlite3.Connection:
    """Raises sqlite3.OperationalError when the file cannot be used now, sqlite3.DatabaseError when it is corrupt."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite gives its other files this mode, too
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.executescript(_SETTINGS)
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_aside(path: str, reason: Exception) -> None:
    aside = next(name for n in itertools.count(1) if not os.path.exists(name := f"{path}.corrupt-{n}"))
    log.error("metadata is corrupt and starts anew; images must be pulled again", file=aside, reason=reason)
    with contextlib.suppress(FileNotFoundError):
        os.rename(f"{path}-wal", f"{aside}-wal")
    os.rename(path, aside)


def _reserve(wal: int) -> None:
    try:
        fallocate(wal, FALLOC_FL_KEEP_SIZE, 0, _WAL_RESERVE)
    except OSError as exc:
        log.warning("no space is kept for removing things on a full disk", reason=exc)


def _translate(exc: sqlite3.Error) -> CrispError:
    if getattr(exc, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
        return ResourceExhausted(f"metadata: {exc}: free some space")
    return Unavailable(f"metadata: {exc}")
