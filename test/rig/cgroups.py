"""Cgroups of the machines that tests run on."""

from __future__ import annotations

import os
import time
from pathlib import Path

from core.linux.cgroup import CgroupLayout
from core.linux.mount import mount
from rig.patience import patient

_HUGETLB = "/sys/fs/cgroup/hugetlb"
DYING = 5.0
"""Seconds for the kernel to let go of processes that were killed, and of their group."""


def ensure_cgroups() -> None:
    """Make a hybrid layout acceptable to crun, which wants no controller left on v2: mount hugetlb under v1."""
    unified = "/sys/fs/cgroup/unified/cgroup.controllers"
    if not os.path.exists(unified):
        return
    with open(unified, encoding="ascii") as file:
        left = file.read().split()
    if "hugetlb" in left:
        os.makedirs(_HUGETLB, exist_ok=True)
        mount("cgroup", _HUGETLB, "cgroup", 0, "hugetlb")


def existing(group: str) -> list[Path]:
    """The directories of `group`, in all hierarchies that have it."""
    return [place for one in CgroupLayout.read().directories(group) if (place := Path(one)).is_dir()]


def inside(group: str) -> list[Path]:
    """The groups right below `group`, in all hierarchies."""
    return [child for place in existing(group) for child in place.iterdir() if child.is_dir()]


def remove_cgroups(group: str) -> None:
    """Remove `group` from all hierarchies; success when absent. Raises OSError when a container's is left in it."""
    deadline = time.monotonic() + patient(DYING)
    for place in existing(group):
        while place.is_dir():
            try:
                place.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)  # between looks at the condition
