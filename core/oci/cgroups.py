"""linux.cgroupsPath: where the OCI runtime is to make a container's cgroup, and where it is then found."""

from __future__ import annotations

import asyncio
import contextlib
import os

from core.errdefs import InvalidArgument, Unavailable
from core.linux import cgroup
from core.linux.cgroup import CgroupLayout
from core.log import get_logger

log = get_logger(__name__)

ORPHANS = "crisp"
"""Parent of containers whose pod names none: not the root, where nothing would limit them."""

_KILLS, _KILL_PAUSE = 50, 0.1
"""Times and seconds in between: what is killed may just have forked."""


def cgroups_path(parent: str, container_id: str, *, systemd: bool) -> str:
    """Below `parent`: `/parent/id` for cgroupfs; `slice:crisp:id` for systemd, which knows each slice by its own name.

    Raises InvalidArgument for a parent that leaves the hierarchy, or is no slice under systemd.
    """
    parts = _parts(parent)
    if not systemd:
        return "/" + "/".join([*(parts or [ORPHANS]), container_id])
    unit = parts[-1] if parts else f"{ORPHANS}.slice"
    if not unit.endswith(".slice") or ":" in unit:
        raise InvalidArgument(f"cgroup_parent {parent[:160]!r}: the systemd driver wants a slice, like kubepods.slice")
    return f"{unit}:{ORPHANS}:{container_id}"


def group_of(path: str) -> str:
    """The group that an OCI runtime makes of `path`, a linux.cgroupsPath, as /proc/<pid>/cgroup shows it."""
    if path.startswith("/"):
        return path
    unit, prefix, name = path.split(":")
    return f"{_slice_path(unit)}/{prefix}-{name}.scope"


def parent_group(parent: str, *, systemd: bool) -> str:
    """The pod's own group, "" when it has none: then its containers are among the orphans' of other pods.

    Raises InvalidArgument as `cgroups_path` does.
    """
    parts = _parts(parent)
    if not parts:
        return ""
    return _slice_path(parts[-1]) if systemd else "/" + "/".join(parts)


def _parts(parent: str) -> list[str]:
    parts = [part for part in parent.split("/") if part]
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise InvalidArgument(f"cgroup_parent {parent[:160]!r}: want a path without '.' and '..'")
    return parts


def _slice_path(unit: str) -> str:
    """`a-b.slice` is in `a.slice` (systemd.slice(5)); `-.slice` is the root."""
    words = unit.removesuffix(".slice").split("-")
    if words == ["", ""]:
        return ""
    return "".join(f"/{'-'.join(words[: depth + 1])}.slice" for depth in range(len(words)))


def thaw_group(layout: CgroupLayout, path: str) -> None:
    """Let the container of `cgroups_path` path run on if it is frozen: a frozen process does not even die."""
    for directory in layout.directories(group_of(path)):
        cgroup.thaw(directory)


async def end_group(layout: CgroupLayout, path: str) -> None:
    """Kill what runs in the cgroup of `cgroups_path` path and remove it, for a container that its OCI runtime has
    forgotten (hazards 3.29). Success when there is none. Raises Unavailable when it cannot be ended.
    """
    for directory in layout.directories(group_of(path)):
        await _end(directory)


async def _end(directory: str) -> None:
    for _ in range(_KILLS):
        if not cgroup.members(directory):
            break
        log.warning("container without a shim is killed", cgroup=directory)
        cgroup.kill(directory)
        cgroup.thaw(directory)
        await asyncio.sleep(_KILL_PAUSE)
    else:
        raise Unavailable(f"processes in {directory} do not end: they hang in the kernel")
    with contextlib.suppress(OSError):  # not made, or not empty: then it is the pod's
        os.rmdir(directory)
