"""The door to libc and to system calls that libc may not know.

Each caller makes its functions once, at import, with a fixed prototype; a failed call raises `OSError(errno, text,
path)` whose text starts with the call's name. ctypes lets go of the GIL during a call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)

Call = Callable[..., int]


def function(name: str, *argument_types: Any) -> Call:
    """The libc function `name`, returning int."""
    return ctypes.CFUNCTYPE(ctypes.c_int, *argument_types, use_errno=True)((name, LIBC))


def syscall(number: int, *argument_types: Any) -> Call:
    """System call `number`. From 424 on, x86_64 and aarch64 (all new calls) share the numbers."""
    call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, *argument_types, use_errno=True)(("syscall", LIBC))
    return lambda *arguments: call(number, *arguments)


def check(result: int, name: str, path: str | None = None) -> int:
    """Return `result`, or raise the OSError that errno stands for when it is negative."""
    if result < 0:
        raise error(ctypes.get_errno(), name, path)
    return result


def error(errno: int, name: str, path: str | None = None, detail: str = "") -> OSError:
    """The OSError (of its subclass for `errno`) of call `name`."""
    return OSError(errno, f"{name}: {detail or os.strerror(errno)}", path)
