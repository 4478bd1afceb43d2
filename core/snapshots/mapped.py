"""Snapshots for a user namespace: their files belong to its users, without one being copied or chowned.

The layers below are shown through one id-mapped mount while the overlay is put together: the kernel keeps what it needs
of it (Documentation/filesystems/overlayfs.rst: layers are cloned privately). The layer on top is the container's own
and has the node's ids on disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from core.linux.idmap import bind_mapped, mapped
from core.linux.mount import mount_all, umount_all
from core.types import Mount

_LOWER, _UPPER = "lowerdir=", "upperdir="


def mount_mapped(mounts: Iterable[Mount], target: str, scratch: str, userns: str, root: tuple[int, int]) -> None:
    """Perform a snapshot's `mounts` at `target` with the ids of the namespace pinned at `userns`.

    `root` are the node's user and group that are the namespace's root; `scratch` is a directory to make and remove. A
    crash leaves mounts at `target` and `scratch`. Raises FailedPrecondition when the filesystem cannot do it.
    """
    try:
        for mount in mounts:
            if mount.type == "overlay":
                _overlay(mount, target, scratch, userns, root)
            else:
                bind_mapped(mount.source, target, userns)
    except BaseException:
        umount_all(target)
        raise


def _overlay(mount: Mount, target: str, scratch: str, userns: str, root: tuple[int, int]) -> None:
    lowers = next(option for option in mount.options if option.startswith(_LOWER)).removeprefix(_LOWER).split(":")
    for upper in (option.removeprefix(_UPPER) for option in mount.options if option.startswith(_UPPER)):
        os.chown(upper, *root)
    above = os.path.commonpath(lowers)
    with mapped(above, scratch, userns) as place:
        shown = ":".join(place + lower.removeprefix(above) for lower in lowers)
        options = tuple(_LOWER + shown if option.startswith(_LOWER) else option for option in mount.options)
        mount_all([Mount(type=mount.type, source=mount.source, options=options)], target)
