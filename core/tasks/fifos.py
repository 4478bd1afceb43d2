"""FIFOs of shim v2: what a shim that is not ours writes to and reads from, one directory for each process.

    <directory>/{stdin,stdout,stderr}   those that the process has; a terminal has no stderr
"""

from __future__ import annotations

import os
from typing import NamedTuple

from core.files.dirs import make_dirs, remove_tree


class Fifos(NamedTuple):
    """Paths, "" for a stream that the process does not have."""

    stdin: str
    stdout: str
    stderr: str


def make_fifos(directory: str, *, stdin: bool, stdout: bool, stderr: bool) -> Fifos:
    """Make them anew, whatever an earlier attempt left."""
    remove_tree(directory)
    make_dirs(directory, 0o700)
    wanted = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    for name, there in wanted.items():
        if there:
            os.mkfifo(os.path.join(directory, name), 0o700)
    return find_fifos(directory)


def find_fifos(directory: str) -> Fifos:
    paths = (os.path.join(directory, name) for name in Fifos._fields)
    return Fifos(*(path if os.path.exists(path) else "" for path in paths))


def open_reading(path: str) -> int:
    """Does not wait for a writer. It reads as ended before the first one has come, but a poll for it does not return;
    and then it ends with the last one."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def open_writing(path: str) -> int:
    """Does not wait for a reader. A process's input ends when this is closed, and the shim's own end is, by CloseIO."""
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
