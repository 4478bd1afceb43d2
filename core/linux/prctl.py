"""prctl(2): numbers from linux/prctl.h."""

from __future__ import annotations

import ctypes

from core.linux.libc import check, function

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_SET_THP_DISABLE = 41

_ulong = ctypes.c_ulong
_prctl = function("prctl", ctypes.c_int, _ulong, _ulong, _ulong, _ulong)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    return check(_prctl(option, arg2, arg3, arg4, arg5), "prctl")


def set_child_subreaper(on: bool = True) -> None:
    """Orphaned descendants become children of this process."""
    prctl(PR_SET_CHILD_SUBREAPER, int(on))


def set_pdeathsig(signal: int) -> None:
    """Deliver `signal` when the thread that made this process ends; check the parent's pid afterwards."""
    prctl(PR_SET_PDEATHSIG, signal)


def set_name(name: str) -> None:
    """Set comm of the calling thread; the kernel keeps 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode())
    prctl(PR_SET_NAME, ctypes.addressof(buffer))


def set_no_new_privs() -> None:
    """execve grants nothing any more: setuid bits and file capabilities are ignored. Cannot be undone."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_thp_disable(on: bool) -> None:
    """No transparent huge pages from now on, in this process, its children and whatever they exec."""
    prctl(PR_SET_THP_DISABLE, int(on))


def capbset_drop(capability: int) -> None:
    """Remove `capability` (a number of `core.linux.cap`) from the bounding set."""
    prctl(PR_CAPBSET_DROP, capability)
