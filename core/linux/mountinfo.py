"""/proc/self/mountinfo: what is mounted, and how that is propagated (man 5 proc_pid_mountinfo, mount_namespaces(7))."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ESCAPE = re.compile(rb"\\([0-7]{3})")  # of space, tab, newline and backslash


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagation:
    mount_point: str
    shared: bool
    """What is mounted below it appears in its peers, and theirs in it."""
    slave: bool
    """What is mounted below its master appears in it."""


def propagation_of(path: str, mountinfo: str = "/proc/self/mountinfo") -> Propagation:
    """Of the mount that `path` lies on; it is absolute and has no links. Looks at no path but `mountinfo`."""
    wanted = path.encode(errors="surrogateescape").rstrip(b"/") + b"/"
    found, fields = b"", [b""] * 6
    with open(mountinfo, "rb") as file:
        for line in file:
            split = line.partition(b" - ")[0].split()
            point = _ESCAPE.sub(lambda octal: bytes([int(octal[1], 8)]), split[4])
            if wanted.startswith(point.rstrip(b"/") + b"/") and len(point) >= len(found):  # the last one lies on top
                found, fields = point, split
    return Propagation(
        mount_point=found.decode(errors="surrogateescape"),
        shared=any(field.startswith(b"shared:") for field in fields[6:]),
        slave=any(field.startswith(b"master:") for field in fields[6:]),
    )


def filesystem_of(mount: int, mountinfo: str = "/proc/self/mountinfo") -> str:
    """The type of the filesystem behind the mount of this id; "" when there is none."""
    with open(mountinfo, "rb", buffering=0) as file:
        rows = b"\n" + file.readall()
    row = rows.partition(b"\n%d " % mount)[2].partition(b"\n")[0]
    return row.partition(b" - ")[2].partition(b" ")[0].decode()
