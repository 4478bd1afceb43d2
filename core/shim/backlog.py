"""Bytes that wait for a slow reader, in a file without a name: neither memory nor the writer's time."""

from __future__ import annotations

import os

from core.errdefs import ResourceExhausted

MAX_BACKLOG = 64 << 20
"""Bytes. Enough for what a shell pipeline behind `kubectl run -i` prints at once, over a slow line; a client that falls
further behind a container that floods will never catch up, and the log has it all."""


class Backlog:
    """Append at one end, take at the other. The file goes with `close`, or with the process."""

    def __init__(self, directory: str) -> None:
        """Raises OSError."""
        self._fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
        self._start = self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    def append(self, data: bytes | memoryview) -> None:
        """Raises ResourceExhausted beyond MAX_BACKLOG, OSError (disk full); then a part may be in it."""
        if self._end + len(data) > MAX_BACKLOG:
            raise ResourceExhausted(f"{MAX_BACKLOG >> 20} MiB of output are waiting to be read")
        while data:
            written = os.pwrite(self._fd, data, self._end)
            self._end += written
            data = data[written:]

    def peek(self, size: int) -> bytes:
        """The first bytes, at most `size`."""
        return os.pread(self._fd, min(size, len(self)), self._start)

    def skip(self, size: int) -> None:
        """Drop the first `size` bytes. An empty backlog gives its space back."""
        self._start += size
        if self._start == self._end:
            os.ftruncate(self._fd, 0)
            self._start = self._end = 0

    def close(self) -> None:
        os.close(self._fd)
