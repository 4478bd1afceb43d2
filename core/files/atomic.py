"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os

from core.files.dirs import fsync_dir


def write_atomic(path: str, data: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Make or replace `path`, with exactly `mode`. One writer per path at a time.

    With `durable` the file survives a power cut when this returns; without it only a crash of the process, which is all
    that a tmpfs can give. A crash in between leaves `.<name>.new`, which the next write of `path` replaces.
    """
    directory, name = os.path.split(path)
    fresh = os.path.join(directory, f".{name}.new")
    try:
        _write_new(fresh, data, mode, durable)
        os.rename(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    if durable:
        fsync_dir(directory or ".")


def _write_new(path: str, data: bytes, mode: int, durable: bool) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, mode)  # open() would take the umask off
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
