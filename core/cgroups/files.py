"""Control files, read again and again, and the three forms that their content has."""

from __future__ import annotations

import contextlib
import functools
import os
import re

from core.cgroups.usage import Pressure, Stall
from core.linux.cgroup import read_file

_SIZE = 8 << 10  # bytes; memory.stat, the longest of them, has a quarter
_MISSING = -1
_UNLIMITED = 1 << 62  # v1 says "none" with LONG_MAX, rounded down to a page
_PRESSURE = re.compile(
    rb"some avg10=(\S+) avg60=(\S+) avg300=(\S+) total=(\d+)\n"
    rb"(?:full avg10=(\S+) avg60=(\S+) avg300=(\S+) total=(\d+))?"
)


class ControlFiles:
    """Files of one group, kept open: reading one anew costs a fifth of opening, reading and closing it."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._open: dict[str, int] = {}

    def read(self, path: str) -> bytes:
        """All of the file, b"" when the kernel has none. Raises OSError (ENODEV) when its group was removed."""
        descriptor = self._open.get(path)
        if descriptor is None:
            descriptor = self._descriptor(path)
        if descriptor == _MISSING:
            return b""
        try:
            return os.pread(descriptor, _SIZE, 0)
        finally:
            if not self._keep:
                self.close()

    def close(self) -> None:
        """Idempotent."""
        for descriptor in self._open.values():
            if descriptor != _MISSING:
                os.close(descriptor)
        self._open.clear()

    def _descriptor(self, path: str) -> int:
        descriptor = _MISSING
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._open[path] = descriptor
        return descriptor


def number(content: bytes, key: bytes) -> int:
    """The value behind `key`, which has the space after it and, but for the first line's, the newline before it.

    0 when it is not there: the kernel leaves out what it was built without.
    """
    start = content.find(key)
    if start < 0:
        return 0
    start += len(key)
    return int(content[start : content.find(b"\n", start)])


def limit(content: bytes) -> int | None:
    """A file that holds one number, or none: nothing in it, `max`, or v1's largest number."""
    return None if not content or content.startswith(b"max") else below_infinity(int(content))


def below_infinity(value: int) -> int | None:
    """A limit of cgroup v1, None when there is none."""
    return value if value < _UNLIMITED else None


@functools.lru_cache(1024)
def pressure(content: bytes) -> Pressure | None:
    """A `*.pressure` file; None when the kernel does not measure it. Cached: most files of a node say the same."""
    found = _PRESSURE.match(content)
    if found is None:
        return None
    some10, some60, some300, some, full10, full60, full300, full = found.groups()
    return Pressure(
        some=_stall(some10, some60, some300, some),
        full=_stall(full10, full60, full300, full) if full else None,
    )


def _stall(avg10: bytes, avg60: bytes, avg300: bytes, total: bytes) -> Stall:
    return Stall(avg10=float(avg10), avg60=float(avg60), avg300=float(avg300), total=int(total) * 1000)


def pids_below(directory: str) -> list[int]:
    """The processes of the group in `directory` and of all groups below it; none when it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        found += map(int, read_file(f"{directory}/cgroup.procs").split())
        if os.stat(directory).st_nlink > 2:  # kernfs counts subdirectories: most groups need no listing
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        found += pids_below(entry.path)
    return found
