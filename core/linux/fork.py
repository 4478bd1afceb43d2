"""fork(2) alone, for a process with one thread.

os.fork runs what modules have registered around it (locks of logging and threading made anew, random seeded), in both
processes: 430 KiB of pages that a child then has to itself. A child that touches next to nothing does without; one that
goes on to run whatever code calls `after_fork` first.
"""

from __future__ import annotations

import ctypes
import os

_PYTHON = ctypes.PyDLL(None, use_errno=True)  # unlike LIBC it keeps the GIL, which the child is born with
_after_fork = _PYTHON.PyOS_AfterFork_Child  # Python/C API, "Process Control"
_after_fork.restype = None


def fork() -> int:
    """The child's pid, 0 in the child. Raises OSError."""
    pid: int = _PYTHON.fork()
    if pid < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"fork: {os.strerror(errno)}")
    return pid


def after_fork() -> None:
    """What os.fork does in a child, in one that `fork` has made."""
    _after_fork()
