"""Linux capabilities of a container, from what its pod asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core.errdefs import InvalidArgument
from core.linux.cap import NAMES, effective

DEFAULT = (
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
)
"""What images of the last decade expect to have as root: the set that Docker began with and containerd kept."""

ALL = "ALL"


def grant(add: Iterable[str], drop: Iterable[str], base: Iterable[str] = DEFAULT) -> frozenset[str]:
    """`base` with `drop` taken away, then `add` given; ALL means every capability that this node can give.

    An added capability wins over the same one dropped, ALL included (CRI: Capability). Raises InvalidArgument.
    """
    added, dropped = (_names(wanted) for wanted in (add, drop))
    granted = set(available()) if ALL in added else set(base)
    if ALL in dropped:
        granted = set(available()) if ALL in added else set()
    return frozenset(granted - (dropped - {ALL}) | (added - {ALL}))


def available() -> frozenset[str]:
    """What crispd itself has: more cannot be given."""
    return effective()


def _names(wanted: Iterable[str]) -> set[str]:
    names = {name.upper() for name in wanted}
    full = {name if name == ALL or name.startswith("CAP_") else f"CAP_{name}" for name in names}
    for name in full - {ALL} - set(NAMES):
        raise InvalidArgument(f"capability {name!r} is not known")
    return full


def sets(granted: frozenset[str], ambient: frozenset[str], *, root: bool) -> Mapping[str, list[str]]:
    """The OCI capability sets. Inheritable is empty, or files with inheritable bits would gain (CVE-2022-24769); with
    ambient capabilities it must hold them, capabilities(7). Of a process that is not root only those survive execve."""
    names, kept = sorted(granted), sorted(ambient)
    effective_now = names if root else kept
    return {
        "bounding": names,
        "effective": effective_now,
        "permitted": effective_now,
        "inheritable": kept,
        "ambient": kept,
    }
