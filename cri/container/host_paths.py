"""What of the node a container mounts: links followed, and what is missing made, without waiting for a dead server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from core.errdefs import CrispError, DeadlineExceeded, InvalidArgument, NotFound
from core.linux.fsmount import AT_FDCWD
from core.linux.mountinfo import filesystem_of, propagation_of
from core.linux.openat2 import RESOLVE_CACHED, openat2
from core.linux.statx import mount_of
from core.zygote.zygote import Zygote
from cri import api
from cri.container.spec.text import kernel_text

DEADLINE = 10.0
"""Seconds for a path to answer: a file server that takes longer would hang the container, too (hazards 3.37)."""

_PSEUDO = "bpf cgroup cgroup2 debugfs devpts devtmpfs hugetlbfs mqueue proc sysfs tracefs"
_LOCAL = frozenset(f"{_PSEUDO} btrfs overlay ramfs tmpfs zfs".split())
"""Filesystems without a block device behind which there is no server."""


async def host_paths(zygote: Zygote, config: api.ContainerConfig, *, strict: bool = False) -> Mapping[str, str]:
    """Where the `host_path` of each mount leads, by container_path. A missing one becomes a directory, as with both
    peers, since pods rely on that; `strict`, it is refused.

    Raises InvalidArgument (none given, propagation that its mount does not have), NotFound (`strict`), DeadlineExceeded
    when a path does not answer, and what keeps a directory from being made.
    """
    mounts = [mount for mount in config.mounts if not mount.image.image]
    paths = {mount.container_path: _known(mount) for mount in mounts}
    unknown = [mount for mount in mounts if not paths[mount.container_path]]
    found = await asyncio.gather(*(_look(zygote, mount, strict=strict) for mount in unknown))
    paths.update((mount.container_path, path) for mount, path in zip(unknown, found))
    for mount in mounts:
        _check_propagation(mount, paths[mount.container_path])
    return paths


def _known(mount: api.Mount) -> str:
    """The real path, if the kernel knows it without asking a filesystem, so that this never blocks; else "".

    It knows the root of a mount whose server is dead, too: so only a local filesystem's word counts.
    """
    path = kernel_text(mount.host_path, f"mount {mount.container_path[:160]}: host_path")
    if not path.startswith("/"):
        raise InvalidArgument(f"mount {mount.container_path[:160]}: host_path {path[:160]!r} is not absolute")
    try:
        fd = openat2(AT_FDCWD, path, os.O_PATH, 0, RESOLVE_CACHED)
    except OSError:  # not in the kernel's cache, or not there: looking there may hang
        return ""
    try:
        return os.readlink(f"/proc/self/fd/{fd}") if _is_local(fd) else ""
    finally:
        os.close(fd)


def _is_local(fd: int) -> bool:
    mount, major = mount_of(fd)
    return major != 0 or filesystem_of(mount) in _LOCAL


async def _look(zygote: Zygote, mount: api.Mount, *, strict: bool) -> str:
    where = f"mount {mount.container_path[:160]}"
    try:
        return await _probe(zygote, mount.host_path, strict=strict)
    except DeadlineExceeded as exc:
        raise DeadlineExceeded(f"{where}: host_path {mount.host_path} does not answer within {DEADLINE:.0f} s") from exc
    except CrispError as exc:
        raise type(exc)(f"{where}: {exc}") from exc


async def _probe(zygote: Zygote, path: str, *, strict: bool) -> str:
    try:
        found = await zygote.run("probe", {"operation": "realpath", "path": path}, deadline=DEADLINE)
    except NotFound:
        if strict:
            raise NotFound(f"host_path {path} does not exist, and this node makes none (strict_host_paths)") from None
        found = await zygote.run("probe", {"operation": "mkdir", "path": path, "mode": 0o755}, deadline=DEADLINE)
    return str(found["path"])


def _check_propagation(mount: api.Mount, path: str) -> None:
    """The kernel passes mounts on only from a mount that is shared, or to one that is shared or a slave."""
    if mount.propagation == api.MountPropagation.PROPAGATION_PRIVATE:
        return
    found = propagation_of(path)
    both_ways = mount.propagation == api.MountPropagation.PROPAGATION_BIDIRECTIONAL
    if not found.shared and (both_ways or not found.slave):
        want = "shared" if both_ways else "shared or a slave"
        raise InvalidArgument(
            f"mount {mount.container_path[:160]}: {path} is on the mount {found.mount_point}, which is not {want}: "
            f"`mount --make-rshared {found.mount_point}` makes it so"
        )
