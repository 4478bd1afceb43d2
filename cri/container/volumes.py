"""Volumes that an image declares (OCI image-spec, config.md, Volumes): directories of a container's own, which begin
with what the image has there.

    <root>/volumes/<container id>/<number>      0700 above; on disk, since they can be large

What a crash leaves: a directory named by the container's id. `ids` finds it, `remove` undoes any part of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from core.errdefs import InvalidArgument
from core.files.dirs import make_dirs, remove_tree
from core.linux.openat2 import real_path
from core.snapshots.copy import copy_tree
from cri.container.spec.mounts import clean_path

MAX_VOLUMES = 256
"""Each is a directory and a mount; no real image has more than some ten."""

_OF_RUNTIME = ("/proc", "/sys", "/dev")
_MOUNTED_ANYWAY = frozenset({"/sys/fs/cgroup", "/dev/shm", "/dev/mqueue", "/dev/pts"})  # noqa: S108


def declared_volumes(declared: Mapping[str, object], taken: Iterable[str]) -> tuple[str, ...]:
    """Clean absolute paths in the container, parents first, without those where something else is mounted (`taken`).

    A path is the image's word: it names a place in the container and never one of the node (CVE-2022-23648). One that
    the OCI runtime mounts by itself (systemd images declare /sys/fs/cgroup) needs none. Raises InvalidArgument for one
    in another place of the runtime's (CVE-2019-16884, CVE-2023-27561), or more than MAX_VOLUMES.
    """
    targets = {_target(path) for path in declared}
    if len(targets) > MAX_VOLUMES:
        raise InvalidArgument(f"image: {len(targets)} volumes, more than {MAX_VOLUMES}")
    return tuple(sorted(targets - set(map(clean_path, taken)) - _MOUNTED_ANYWAY))


def _target(path: str) -> str:
    clean = clean_path(path)
    of_runtime = clean == "/" or any(clean == place or clean.startswith(f"{place}/") for place in _OF_RUNTIME)
    if "\0" in path or (of_runtime and clean not in _MOUNTED_ANYWAY):
        raise InvalidArgument(f"image: volume {path[:160]!r}: this place is the runtime's")
    return clean


class Volumes:
    """The volumes of all containers below one directory. All calls block."""

    def __init__(self, root: str) -> None:
        self._root = root

    def make(self, container_id: str, rootfs: str, targets: Iterable[str]) -> list[tuple[str, str]]:
        """A directory for each of `targets`, with owner, mode and files of what the image has there in `rootfs`.

        Returns where in the container, and the directory. Raises InvalidArgument where the image has no directory.
        """
        made = []
        for number, target in enumerate(targets):
            make_dirs(self._path(container_id), 0o700)
            directory = os.path.join(self._path(container_id), str(number))
            os.mkdir(directory, 0o755)
            if source := _in_image(rootfs, target):
                copy_tree(source, directory)
            made.append((target, directory))
        return made

    def remove(self, container_id: str) -> None:
        """Success when absent."""
        remove_tree(self._path(container_id))

    def ids(self) -> list[str]:
        """The container ids that have volumes."""
        return os.listdir(self._root) if os.path.isdir(self._root) else []

    def _path(self, container_id: str) -> str:
        return os.path.join(self._root, container_id)


def _in_image(rootfs: str, target: str) -> str:
    """The real path of the image's directory `target`, "" when it has none: links lead nowhere else than inside."""
    try:
        return real_path(rootfs, target, os.O_DIRECTORY)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise InvalidArgument(f"image: volume {target[:160]!r}: {exc.strerror}") from exc
