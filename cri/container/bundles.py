"""Bundles: where a container's OCI config and root filesystem are until it is removed.

    <state>/containers/<container id>/     0700
        config.json                        the OCI runtime spec
        rootfs/                            the snapshot, mounted once for user look-up, volumes and the OCI runtime
        images/                            see ImageMounts
        …                                  the shim's: init.pid, exit.json, log.json

What a crash leaves: directories, mounts and snapshots, all named by the container's id. `ids` finds them, `remove`
undoes any part of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re

from core.errdefs import NotFound
from core.failpoint import failpoint
from core.files.atomic import write_atomic
from core.files.dirs import make_dirs, remove_tree
from core.linux.mount import MNT_DETACH, mount_all, umount2
from core.snapshots.snapshotter import Snapshotter
from cri.container.image_mounts import ImageMounts
from cri.container.volumes import Volumes

_ID = re.compile("[0-9a-f]{64}")  # of snapshots those that are a container's


class Bundles:
    """The bundles below one state directory. All calls block."""

    def __init__(self, root: str, snapshotter: Snapshotter, snapshotter_name: str, volumes: Volumes) -> None:
        self._root = root
        self._snapshotter = snapshotter
        self.snapshotter_name = snapshotter_name
        self.images = ImageMounts(root, snapshotter)
        self.volumes = volumes

    def path(self, container_id: str) -> str:
        return os.path.join(self._root, container_id)

    def rootfs(self, container_id: str) -> str:
        return os.path.join(self._root, container_id, "rootfs")

    def prepare(self, container_id: str, chain_id: str) -> str:
        """Make the bundle with its root filesystem mounted; return the path of the latter.

        Raises NotFound when the image's snapshot is gone.
        """
        rootfs = self.rootfs(container_id)
        make_dirs(rootfs, 0o700)
        failpoint("bundle.prepare.made")
        mounts = self._snapshotter.prepare(container_id, chain_id)
        failpoint("bundle.prepare.snapshot")
        mount_all(mounts, rootfs)
        failpoint("bundle.prepare.mounted")
        return rootfs

    def write_spec(self, container_id: str, spec: bytes) -> None:
        # Not synced: the state directory is a tmpfs, and a crash before the record makes the bundle garbage.
        write_atomic(self._spec_path(container_id), spec, durable=False)
        failpoint("bundle.spec.written")

    def spec(self, container_id: str) -> bytes:
        """The OCI runtime spec as written. Raises NotFound."""
        try:
            with open(self._spec_path(container_id), "rb") as file:
                return file.read()
        except FileNotFoundError as exc:
            raise NotFound(f"bundle of container {container_id}: it went with a reboot or was removed") from exc

    def remove(self, container_id: str) -> None:
        """Unmount, drop the snapshots, the volumes and the directory. Success when absent."""
        self.images.remove(container_id)
        _unmount(self.rootfs(container_id))
        failpoint("bundle.remove.unmounted")
        self.volumes.remove(container_id)
        with contextlib.suppress(NotFound):
            self._snapshotter.remove(container_id)
        failpoint("bundle.remove.unsnapped")
        remove_tree(self.path(container_id))

    def ids(self) -> list[str]:
        """The container ids of which there is something, with or without a record; after a reboot not the bundle."""
        bundles = os.listdir(self._root) if os.path.isdir(self._root) else []
        writable = (one.name for one in self._snapshotter.walk() if _ID.fullmatch(one.name))
        return list({*bundles, *self.volumes.ids(), *writable})

    def _spec_path(self, container_id: str) -> str:
        return os.path.join(self._root, container_id, "config.json")


def _unmount(path: str) -> None:
    """Unmount, lazily: a process that still holds a file there must not keep the container from being removed."""
    try:
        umount2(path, MNT_DETACH)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOENT):  # not mounted, not there
            raise
