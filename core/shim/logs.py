"""A container's log file: entries appended, reopened after rotation, never an obstacle to the container."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time

from core.linux.fsmount import AT_FDCWD
from core.linux.openat2 import RESOLVE_NO_SYMLINKS, openat2
from core.log import get_logger
from core.shim.log_counts import LogCounter
from core.shim.luggage import Luggage, Packed

log = get_logger(__name__)

COMPLAIN_EVERY = 60.0
"""Seconds between reports of a log that cannot be written: the disk is full already."""


class LogFile:
    """The CRI log file at `path`; "" discards. Both streams of a container append to it.

    Nothing is buffered: what `write` was given is in the file, unless that failed; then it is counted as dropped and
    later writes are tried again (a full disk must not stop the container, hazards 3.33).
    """

    def __init__(self, path: str, counter: LogCounter | None = None, *, fd: int = -1) -> None:
        """`fd` is the file when it is open already."""
        self.path = path
        self._counter = counter or LogCounter()
        self.dropped = 0
        """Bytes that could not be written."""
        self._complained = -COMPLAIN_EVERY
        self._fd = _open(path) if path and fd < 0 else fd

    def write(self, entries: bytes, lines: int = 0, split: int = 0) -> None:
        """`lines` and `split` say how many entries that is, for the counts."""
        if self._fd < 0 or not entries:
            return
        view = memoryview(entries)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as exc:
            self._drop(len(view), exc)
        self._counter.add(len(entries) - len(view), lines, split, len(view))

    def reopen(self) -> None:
        """Go on in a new file at the same path. Raises OSError; then the old one is still open."""
        if self.path:
            fresh = _open(self.path)
            os.close(self._fd)
            self._fd = fresh

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def put_down(self, luggage: Luggage) -> Packed:
        return {"path": self.path, "fd": luggage.pack(self._fd), "dropped": self.dropped, "told": self._complained}

    @classmethod
    def take_up(cls, state: Packed, luggage: Luggage, counter: LogCounter | None) -> LogFile:
        fd = luggage.unpack(state["fd"])
        log_file = cls(state["path"] if fd >= 0 else "", counter, fd=fd)
        log_file.path, log_file.dropped, log_file._complained = state["path"], state["dropped"], state["told"]
        return log_file

    def _drop(self, size: int, error: OSError) -> None:
        self.dropped += size
        now = time.monotonic()
        if now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            log.error("log not written", path=self.path, dropped=self.dropped, error=error)


def _open(path: str) -> int:
    """0640 and through no symbolic link at all: a pod with the node's /var/log mounted could have put one there, and
    what its container prints would land wherever that leads (hazards, "log path"). Nor a FIFO, which would stop whoever
    opens it or writes, nor a device."""
    fd = _open_anything(path)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "the log is no regular file", path)
    return fd


def _open_anything(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK
    with contextlib.suppress(FileNotFoundError):
        return openat2(AT_FDCWD, path, flags, 0o640, RESOLVE_NO_SYMLINKS)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    return openat2(AT_FDCWD, path, flags, 0o640, RESOLVE_NO_SYMLINKS)


def stamp() -> bytes:
    """Now, as RFC 3339 with nanoseconds, in UTC."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return b"%s.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), nanoseconds)
