"""Capabilities: names, numbers and what a process has (man 7 capabilities, linux/capability.h)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from core.linux.libc import check, function

_ORDER = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NAMES = tuple(f"CAP_{name}" for name in _ORDER.split())
"""Names by number."""
NUMBERS = {name: number for number, name in enumerate(NAMES)}

_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two 32-bit words per set


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


_capset = function("capset", ctypes.POINTER(_Header), ctypes.POINTER(_Data))


def last_cap() -> int:
    """The highest number that the running kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        return int(file.read())


def effective(pid: int | str = "self") -> frozenset[str]:
    """Names of the effective set of `pid`; numbers that this module does not know are left out."""
    return _read(pid, b"CapEff:")


def capset(effective: Iterable[str], permitted: Iterable[str], inheritable: Iterable[str] = ()) -> None:
    """Replace the three sets of the calling thread."""
    sets = [_mask(names) for names in (effective, permitted, inheritable)]
    words = (_Data * 2)(*(_Data(*(mask >> shift & 0xFFFFFFFF for mask in sets)) for shift in (0, 32)))
    check(_capset(ctypes.byref(_Header(_VERSION_3, 0)), words), "capset")


def _mask(names: Iterable[str]) -> int:
    return sum(1 << NUMBERS[name] for name in set(names))


def _read(pid: int | str, field: bytes) -> frozenset[str]:
    with open(f"/proc/{pid}/status", "rb") as file:
        mask = next(int(line.split()[1], 16) for line in file if line.startswith(field))
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)
