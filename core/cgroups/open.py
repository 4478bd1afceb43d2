"""From the path of a group to its files, on the node's version of cgroups."""

from __future__ import annotations

from core.cgroups.cgroups import Group
from core.cgroups.v1 import GroupV1
from core.cgroups.v2 import GroupV2
from core.errdefs import Unavailable
from core.linux.cgroup import CgroupLayout


def open_group(layout: CgroupLayout, group: str, *, keep: bool) -> Group:
    """`group` as /proc/<pid>/cgroup shows it; `keep` holds its files open between two readings, some 10 of them.

    Raises Unavailable when the node counts neither memory nor processor time.
    """
    if layout.unified and "memory" in layout.unified_controllers:
        return GroupV2(layout.unified, group, keep=keep)
    try:
        return GroupV1(layout, group, keep=keep)
    except KeyError as exc:
        raise Unavailable(f"this node has no cgroup controller {exc.args[0]}: mount it") from exc
