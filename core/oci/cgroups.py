"""linux.cgroupsPath: where the OCI runtime is to make a container's cgroup."""

from __future__ import annotations

from core.errdefs import InvalidArgument

ORPHANS = "crisp"
"""Parent of containers whose pod names none: not the root, where nothing would limit them."""


def cgroups_path(parent: str, container_id: str, *, systemd: bool) -> str:
    """Below `parent`: `/parent/id` for cgroupfs; `slice:crisp:id` for systemd, which knows each slice by its own name.

    Raises InvalidArgument for a parent that leaves the hierarchy, or is no slice under systemd.
    """
    parts = [part for part in parent.split("/") if part]
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise InvalidArgument(f"cgroup_parent {parent[:160]!r}: want a path without '.' and '..'")
    if not systemd:
        return "/" + "/".join([*(parts or [ORPHANS]), container_id])
    unit = parts[-1] if parts else f"{ORPHANS}.slice"
    if not unit.endswith(".slice") or ":" in unit:
        raise InvalidArgument(f"cgroup_parent {parent[:160]!r}: the systemd driver wants a slice, like kubepods.slice")
    return f"{unit}:{ORPHANS}:{container_id}"
