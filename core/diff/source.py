"""Where the bytes of a layer come from: a blob's file, or an ingest that is still growing.

The daemon tells through a pipe how far a growing file may be read: 8-byte little-endian offsets from the file's start,
never falling; closing the pipe means that the last one is the end. So a layer unpacks while it downloads, and the
unpacker sees no byte that its writer has not vouched for.
"""

from __future__ import annotations

import os
import struct
from typing import Protocol

_OFFSET = struct.Struct("<Q")
_BATCH = 512 * _OFFSET.size  # bytes: many offsets are read at once, and only the last one matters


class Source(Protocol):
    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, waiting for them; b"" at the end."""


class File:
    """A whole file. Reads at its own position, so that the descriptor can be shared."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.position = 0

    def read(self, size: int = -1, /) -> bytes:
        data = os.pread(self._fd, size if size > 0 else 1 << 20, self.position)
        self.position += len(data)
        return data


class GrowingFile:
    """A file that may be read as far as the pipe says."""

    def __init__(self, fd: int, offsets_fd: int) -> None:
        self._fd = fd
        self._offsets_fd = offsets_fd
        self._readable = 0
        self._partial = b""
        self.position = 0

    def read(self, size: int = -1, /) -> bytes:
        while self.position >= self._readable:
            if not self._wait():
                return b""
        wanted = min(size if size > 0 else 1 << 20, self._readable - self.position)
        data = os.pread(self._fd, wanted, self.position)
        self.position += len(data)
        return data

    def _wait(self) -> bool:
        """Learn a new offset; False when there will be none."""
        data = self._partial + (received := os.read(self._offsets_fd, _BATCH))
        whole = len(data) - len(data) % _OFFSET.size
        if whole:
            (self._readable,) = _OFFSET.unpack_from(data, whole - _OFFSET.size)
        self._partial = data[whole:]
        return bool(received)
