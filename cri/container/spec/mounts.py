"""What is mounted in a container."""

from __future__ import annotations

import os
from collections.abc import Iterable

from core.errdefs import InvalidArgument
from cri import api
from cri.container.spec.source import Document, Source

_PROPAGATION = {
    api.MountPropagation.PROPAGATION_PRIVATE: "rprivate",
    api.MountPropagation.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    api.MountPropagation.PROPAGATION_BIDIRECTIONAL: "rshared",
}
_CLOSED = ["nosuid", "noexec", "nodev"]
_PTS = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
FORBIDDEN = ("/", "/proc", "/sys", "/dev")
"""Targets that would undo what the runtime mounts there (CVE-2019-16884); paths below /sys and /dev are ordinary."""


def mounts(source: Source, volumes: Iterable[tuple[str, str]]) -> list[Document]:
    """All mounts, parents before children; what the kubelet mounts replaces a default at the same place.

    `volumes` are the image's own: target and directory of the node.
    """
    asked = [(clean_target(mount.container_path), mount) for mount in source.config.mounts]
    taken = {target for target, _ in asked}
    if len(taken) < len(asked):
        raise InvalidArgument("mounts: two of them have the same container_path")
    default = [*_pseudo(source), *_pod_files(source), *(_bind(place, path, []) for path, place in volumes)]
    kept = [mount for mount in default if mount["destination"] not in taken]
    bound = [_asked(target, mount) for target, mount in sorted(asked, key=lambda pair: pair[0].count("/"))]
    return [*kept, *bound]


def clean_target(path: str) -> str:
    """`path` absolute and without `..`. Raises InvalidArgument for a target that is not a container's to choose."""
    clean = os.path.normpath("/" + path)
    clean = clean.replace("//", "/")
    if not path or clean in FORBIDDEN or clean.startswith("/proc/"):
        raise InvalidArgument(f"mount at container_path {path[:160]!r}: this place is the runtime's")
    return clean


def _pseudo(source: Source) -> list[Document]:
    privileged = source.security.privileged
    sysfs = _CLOSED if privileged else [*_CLOSED, "ro"]
    host_ipc = source.security.namespace_options.ipc == api.NamespaceMode.NODE
    shm = "/dev/shm" if host_ipc else source.pod.sandbox.shm  # noqa: S108 - the path that POSIX programs expect
    return [
        _mount("/proc", "proc", "proc", _CLOSED),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", _PTS),
        _mount("/dev/mqueue", "mqueue", "mqueue", _CLOSED),
        _mount("/sys", "sysfs", "sysfs", sysfs),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*_CLOSED, "relatime", "rw" if privileged else "ro"]),
        *([_bind(shm, "/dev/shm", _CLOSED)] if shm else []),  # noqa: S108
    ]


def _pod_files(source: Source) -> list[Document]:
    readonly = ["ro"] if source.security.readonly_rootfs else []
    names = ("hosts", "hostname", "resolv.conf")
    return [_bind(os.path.join(source.etc, name), f"/etc/{name}", readonly) for name in names]


def _asked(target: str, mount: api.Mount) -> Document:
    if mount.recursive_read_only and not mount.readonly:
        raise InvalidArgument(f"mount {target}: recursive_read_only needs readonly")
    if mount.recursive_read_only and mount.propagation != api.MountPropagation.PROPAGATION_PRIVATE:
        raise InvalidArgument(f"mount {target}: recursive_read_only needs private propagation")
    options = [_PROPAGATION[mount.propagation], *mount.mount_options]
    if mount.recursive_read_only:
        options.append("rro")
    return _bind(mount.host_path, target, [*options, "ro" if mount.readonly else "rw"])


def _bind(source: str, target: str, options: list[str]) -> Document:
    return _mount(target, "bind", source, ["rbind", *options])


def _mount(destination: str, kind: str, source: str, options: list[str]) -> Document:
    return {"destination": destination, "type": kind, "source": source, "options": options}
