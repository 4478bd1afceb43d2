"""What a shim has written into logs, counted in a page of memory that is a file, too: whoever wants to know reads the
file, and wakes nobody.

    <state>/sandboxes/<sandbox id>/log.counts    four numbers of eight bytes, in the machine's order: LogCounts' fields
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import NamedTuple

FILE = "log.counts"
_NUMBERS = struct.Struct("=4Q")


class LogCounts(NamedTuple):
    """Since the start of the shim."""

    bytes: int
    """Of entries, with their stamps."""
    lines: int
    """Entries."""
    split: int
    """Entries that are not the end of a line."""
    dropped: int
    """Bytes that could not be written."""


class LogCounter:
    """Counts for one shim, in `directory`; "" keeps the counts to itself."""

    def __init__(self, directory: str = "") -> None:
        self._counts = [0, 0, 0, 0]
        self._page: mmap.mmap | None = None
        if directory:
            fd = os.open(os.path.join(directory, FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(fd, _NUMBERS.size)  # what an earlier worker of this shim has counted stays
                self._page = mmap.mmap(fd, _NUMBERS.size)
            finally:
                os.close(fd)
            self._counts = list(_NUMBERS.unpack_from(self._page))

    def add(self, written: int, lines: int, split: int, dropped: int) -> None:
        counts = self._counts
        counts[0] += written
        counts[1] += lines
        counts[2] += split
        counts[3] += dropped
        if self._page:
            _NUMBERS.pack_into(self._page, 0, *counts)

    def close(self) -> None:
        """The file stays as it is."""
        page, self._page = self._page, None
        if page:
            page.close()


def read_counts(directory: str) -> LogCounts:
    """Zeros where no shim counts."""
    try:
        with open(os.path.join(directory, FILE), "rb", buffering=0) as file:
            return LogCounts(*_NUMBERS.unpack(file.read(_NUMBERS.size)))
    except (OSError, struct.error):
        return LogCounts(0, 0, 0, 0)
