"""An ingest in a directory of its own, and its one writer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable

from core.errdefs import DataLoss, ResourceExhausted, Unavailable
from core.failpoint import failpoint
from core.files.atomic import write_atomic
from core.files.dirs import fsync_dir, remove_tree
from core.types import Digest

_FULL = {errno.ENOSPC, errno.EDQUOT}
_BUFFER = 1 << 20  # bytes read at once when hashing what an earlier writer left


class LocalWriter:
    """Writes `<directory>/data` and holds a lock on the directory, which ends with the process at the latest.

    The hash runs along with the bytes, so that committing reads nothing again.
    """

    def __init__(self, directory: str, ref: str, blob_path: Callable[[Digest], str]) -> None:
        """Raises Unavailable when another writer has the directory."""
        self._directory = directory
        self._ref = ref
        self._blob_path = blob_path
        self._lock_fd = _lock(directory, ref)
        try:
            write_atomic(os.path.join(directory, "ref"), ref.encode(), durable=False)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as exc:
            os.close(self._lock_fd)
            raise _named(exc, ref) from exc
        self._hash = hashlib.sha256()
        self._offset = self._hash_file(self._hash)

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def path(self) -> str:
        return os.path.join(self._directory, "data")

    @property
    def digest(self) -> Digest:
        return Digest(f"{self._hash.name}:{self._hash.hexdigest()}")

    def write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            try:
                count = os.write(self._fd, rest)
            except OSError as exc:
                raise _named(exc, self._ref) from exc
            self._hash.update(rest[:count])
            self._offset += count
            rest = rest[count:]

    def commit(self, size: int, digest: Digest) -> None:
        try:
            self._verify(size, digest)
            self._publish(self._blob_path(digest))
        except OSError as exc:
            self.close()
            raise _named(exc, self._ref) from exc
        except DataLoss:
            self.abort()
            raise
        self.abort()  # of the ingest only its empty directory is left

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            os.close(self._lock_fd)
            self._fd = -1

    def abort(self) -> None:
        if self._fd >= 0:
            remove_tree(self._directory)  # before the lock is let go: the next writer must not lose its files
            self.close()

    def _verify(self, size: int, digest: Digest) -> None:
        if 0 <= size != self._offset:
            raise DataLoss(f"content {self._ref!r}: {self._offset} bytes, expected {size}")
        algorithm, _, expected = digest.partition(":")
        hashed = self._hash
        if algorithm != hashed.name:
            hashed = hashlib.new(algorithm)
            self._hash_file(hashed)
        if hashed.hexdigest() != expected:
            raise DataLoss(f"content {self._ref!r}: digest {algorithm}:{hashed.hexdigest()}, expected {digest}")

    def _publish(self, path: str) -> None:
        if os.path.exists(path):
            return
        os.fsync(self._fd)
        failpoint("content.commit.synced")
        os.rename(self.path, path)
        failpoint("content.commit.renamed")
        fsync_dir(os.path.dirname(path))

    def _hash_file(self, hashed: hashlib._Hash) -> int:
        position = 0
        while data := os.pread(self._fd, _BUFFER, position):
            hashed.update(data)
            position += len(data)
        return position


def _lock(directory: str, ref: str) -> int:
    """Make and lock `directory`. flock(2) belongs to the open file, so it keeps threads apart as well as processes."""
    while True:
        try:
            # Not os.makedirs(exist_ok=True): that raises when the directory it found is removed before it looks again.
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o700)
        except OSError as exc:
            raise _named(exc, ref) from exc
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # its last writer has removed it between the two
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(directory) and os.path.samestat(os.fstat(fd), os.stat(directory)):
                return fd
        except BlockingIOError as exc:
            os.close(fd)
            raise Unavailable(f"content {ref!r} is being written by someone else") from exc
        except FileNotFoundError:
            pass
        os.close(fd)


def _named(exc: OSError, ref: str) -> Exception:
    if exc.errno in _FULL:
        return ResourceExhausted(f"content {ref!r}: {exc.strerror}: free some disk space")
    return exc
