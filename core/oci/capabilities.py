"""Linux capabilities of a container, from what its pod asks for."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from core.errdefs import InvalidArgument
from core.linux.cap import NAMES, effective
from core.oci.runtime import Capabilities

DEFAULT = frozenset(
    {
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    }
)
"""What images of the last decade expect to have as root: the set that Docker began with and containerd kept."""

ALL = "ALL"


def grant(
    add: Iterable[str], drop: Iterable[str], *, available: frozenset[str], base: frozenset[str] = DEFAULT
) -> frozenset[str]:
    """`base` with `add` given, then `drop` taken away; ALL as either acts before the named ones, and drops last.

    So "drop ALL, add KILL" leaves KILL, "add ALL, drop KILL" all but KILL, and a name in both lists is dropped (CRI:
    Capability). Names are taken in any case, with or without CAP_. Raises InvalidArgument for one that is unknown, or
    added though it is not `available`.
    """
    added, dropped = _names(add), _names(drop)
    if missing := added - {ALL} - dropped - available:
        raise InvalidArgument(f"capabilities {', '.join(sorted(missing))}: crispd lacks them and cannot give them")
    granted = available if ALL in added else base & available
    if ALL in dropped:
        granted = frozenset()
    return (granted | added - {ALL}) - dropped


@functools.cache
def available() -> frozenset[str]:
    """What crispd itself has: more cannot be given. Read once, since it drops none."""
    return effective()


def _names(wanted: Iterable[str]) -> frozenset[str]:
    upper = (name.upper() for name in wanted)
    names = frozenset(name if name == ALL or name.startswith("CAP_") else f"CAP_{name}" for name in upper)
    if unknown := names - {ALL} - _KNOWN:
        raise InvalidArgument(f"capability {min(unknown)[:64]!r} is not known")
    return names


_KNOWN = frozenset(NAMES)


def sets(granted: frozenset[str], ambient: frozenset[str], *, root: bool) -> Capabilities:
    """The OCI capability sets of a process that has `granted`, and of them keeps `ambient` as any user.

    The inheritable set is empty, or files with inheritable bits would gain (CVE-2022-24769); only ambient capabilities
    must be in it, or the kernel refuses them (man 7 capabilities). Other than root, nobody keeps more across execve(2).
    """
    names, kept = sorted(granted), sorted(ambient)
    in_force = names if root else kept
    return {"bounding": names, "effective": in_force, "permitted": in_force, "inheritable": kept, "ambient": kept}
