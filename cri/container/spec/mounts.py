"""What is mounted in a container."""

from __future__ import annotations

import os
from collections.abc import Iterable

from core.errdefs import InvalidArgument
from core.oci.runtime import Mount
from cri import api
from cri.container.spec.source import Source
from cri.container.spec.text import kernel_text

_PROPAGATION = {
    api.MountPropagation.PROPAGATION_PRIVATE: "rprivate",
    api.MountPropagation.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    api.MountPropagation.PROPAGATION_BIDIRECTIONAL: "rshared",
}
_EXTRA_OPTIONS = {"nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime"}
"""What CRI's mount_options may add. Others would contradict the fields that say the same (readonly, propagation)."""
_CLOSED = ["nosuid", "noexec", "nodev"]
_PTS = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]  # 5: tty, in every distribution
_CGROUP = "/sys/fs/cgroup"
_SHM = "/dev/shm"  # noqa: S108 - the path that POSIX programs expect


def mounts(source: Source, volumes: Iterable[tuple[str, str]]) -> list[Mount]:
    """All mounts, parents before children; what the kubelet mounts replaces what would else be at the same place.

    `volumes` are the image's own: where in the container, and the node's directory. Raises InvalidArgument.
    """
    asked = {}
    for mount in source.config.mounts:
        target = clean_target(mount.container_path, "mount")
        if target in asked:
            raise InvalidArgument(f"mounts: container_path {target[:160]!r} is there twice")
        asked[target] = _asked(source, target, mount)
    image = [_bind(directory, target, ["rprivate", "rw"]) for target, directory in volumes]
    default = [*_pseudo(source), *_pod_files(source), *image]
    if "/dev" in asked:
        default = [mount for mount in default if not mount["destination"].startswith("/dev/")]
    kept = [mount for mount in default if mount["destination"] not in asked]
    return in_order([*kept, *asked.values()])


def in_order(mounts: Iterable[Mount]) -> list[Mount]:
    """Parents before children; none is /."""
    return sorted(mounts, key=lambda mount: mount["destination"].count("/"))


def is_mounted(source: Source, target: str) -> bool:
    """Whether the kubelet mounts something at exactly `target`."""
    return any(clean_target(mount.container_path, "mount") == target for mount in source.config.mounts)


def clean_target(path: str, what: str) -> str:
    """`path` absolute and without `..`, as the container will see it.

    Raises InvalidArgument for the root and for everything in /proc, which the runtime must be able to trust
    (CVE-2019-16884). /dev and /sys are the kubelet's to replace: drivers and node agents mount the node's there.
    """
    clean = clean_path(kernel_text(path, f"{what} container_path"))
    if not path or clean in ("/", "/proc") or clean.startswith("/proc/"):
        raise InvalidArgument(f"{what} container_path {path[:160]!r}: this place is the runtime's")
    return clean


def clean_path(path: str) -> str:
    """`path` absolute and without `..`, as a container sees it."""
    return "/" + os.path.normpath("/" + path).lstrip("/")


def _pseudo(source: Source) -> list[Mount]:
    return [
        _mount("/proc", "proc", "proc", _CLOSED),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", _PTS),
        _mount("/dev/mqueue", "mqueue", "mqueue", _CLOSED),
        _bind(source.pod.sandbox.shm or _SHM, _SHM, ["rprivate", *_CLOSED, "rw"]),
        _sys(source),
        _cgroup(source),
    ]


def _sys(source: Source) -> Mount:
    if "user" in source.pod.sandbox.namespaces and source.pod.host_network:
        # sysfs shows a network, and only who owns that network's namespace may mount it (kernel, fs/sysfs/mount.c).
        return _bind("/sys", "/sys", ["rprivate", *_CLOSED, "rro"])
    return _mount("/sys", "sysfs", "sysfs", [*_CLOSED, "rw" if source.security.privileged else "ro"])


def _cgroup(source: Source) -> Mount:
    layout = source.facts.layout
    if source.security.privileged and layout.unified and not layout.controllers:
        # Mounted anew outside a cgroup namespace, v2 would take our options for the node's own mount, nsdelegate lost.
        return _bind(layout.unified.mount_point, _CGROUP, ["rprivate", *_CLOSED, "rw"])
    access = "rw" if source.security.privileged else "ro"
    return _mount(_CGROUP, "cgroup", "cgroup", [*_CLOSED, "relatime", access])


def _pod_files(source: Source) -> list[Mount]:
    access = "ro" if source.security.readonly_rootfs else "rw"
    names = ("hosts", "hostname", "resolv.conf")
    return [_bind(os.path.join(source.etc, name), f"/etc/{name}", ["rprivate", access]) for name in names]


def _asked(source: Source, target: str, mount: api.Mount) -> Mount:
    if mount.propagation not in _PROPAGATION:
        raise InvalidArgument(f"mount {target[:160]!r}: propagation {mount.propagation} is not known")
    if mount.recursive_read_only and not mount.readonly:
        raise InvalidArgument(f"mount {target[:160]!r}: recursive_read_only needs readonly")
    if mount.recursive_read_only and mount.propagation != api.MountPropagation.PROPAGATION_PRIVATE:
        raise InvalidArgument(f"mount {target[:160]!r}: recursive_read_only needs private propagation")
    if unknown := set(mount.mount_options) - _EXTRA_OPTIONS:
        known = ", ".join(sorted(_EXTRA_OPTIONS))
        raise InvalidArgument(f"mount {target[:160]!r}: mount_options {min(unknown)[:64]!r} is none of {known}")
    access = ("rro" if mount.recursive_read_only else "ro") if mount.readonly else "rw"
    options = [_PROPAGATION[mount.propagation], *mount.mount_options, access]
    return _bind(source.paths[mount.container_path], target, options)


def _bind(source: str, target: str, options: list[str]) -> Mount:
    return _mount(target, "bind", source, ["rbind", *options])


def _mount(destination: str, kind: str, source: str, options: list[str]) -> Mount:
    return Mount(destination=destination, type=kind, source=source, options=options)
