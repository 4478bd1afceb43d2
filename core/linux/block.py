"""Names of block devices."""

from __future__ import annotations

import functools
import os


@functools.lru_cache(256)
def device_name(major: int, minor: int) -> str:
    """`/dev/sda1`; `0:42` for a number that no block device has, as filesystems in memory or of several disks do."""
    try:
        return "/dev/" + os.path.basename(os.readlink(f"/sys/dev/block/{major}:{minor}"))
    except OSError:
        return f"{major}:{minor}"
