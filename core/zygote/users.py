"""Zygote job "users": whether this node can run pods in user namespaces of their own, found out by doing it.

    args    {"directory": one on the filesystem that has the snapshots}
    result  {"reason": what is missing, "" when nothing is}

An overlay of one file of root's is put together as for a container, and the file must be its namespace's root's. All
mounts are in a namespace of this process; a crash leaves `<directory>/probe`, which the next one removes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from core.api.crisp_shim_pb2 import IdMapping
from core.errdefs import CrispError
from core.files.dirs import remove_tree
from core.linux.mount import MS_PRIVATE, MS_REC, mount, umount_all
from core.linux.ns import CLONE_NEWNS, unshare
from core.shim.namespaces import make_namespaces, remove_namespaces
from core.snapshots.mapped import mount_mapped
from core.types import Mount
from core.zygote.zygote import Progress

_ROOT = 1 << 16
"""The node's id that plays the root of a pod: any but 0."""


def run_job(args: Mapping[str, Any], fds: Sequence[int], report: Progress) -> Mapping[str, Any]:
    place = os.path.join(args["directory"], "probe")
    unshare(CLONE_NEWNS)
    mount("", "/", "", MS_REC | MS_PRIVATE)
    remove_tree(place)
    try:
        return {"reason": _try(place)}
    except (CrispError, OSError) as exc:
        return {"reason": str(exc)}
    finally:
        umount_all(f"{place}/root")
        remove_namespaces(f"{place}/ns", f"{place}/shm")
        remove_tree(place)


def _try(place: str) -> str:
    for name in ("lower", "upper", "work", "root"):
        os.makedirs(f"{place}/{name}")
    os.close(os.open(f"{place}/lower/file", os.O_CREAT | os.O_WRONLY, 0o600))
    root = [IdMapping(container_id=0, host_id=_ROOT, length=1)]
    make_namespaces(f"{place}/ns", [], "", {}, uids=root, gids=root)
    options = (f"lowerdir={place}/lower", f"upperdir={place}/upper", f"workdir={place}/work", "index=off")
    overlay = Mount(type="overlay", source="overlay", options=options)
    mount_mapped([overlay], f"{place}/root", f"{place}/scratch", f"{place}/ns/user", (_ROOT, _ROOT))
    seen = os.stat(f"{place}/root/file").st_uid
    return "" if seen == _ROOT else f"overlayfs shows files of id-mapped layers as user {seen}'s"
