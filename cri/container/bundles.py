"""Bundles: where a container's OCI config and root filesystem are until it is removed.

    <state>/containers/<container id>/     0700, or 0710 for the group of the pod's own user namespace
        config.json                        the OCI runtime spec
        rootfs/                            the snapshot, mounted once for user look-up, volumes and the OCI runtime
        images/                            see ImageMounts
        mapped/<number>                    what the node's root owns, mounted as a user namespace's root's
        layers/                            while the root of a user namespace is put together
        …                                  the shim's: init.pid, exit.json, log.json

What a crash leaves: directories, mounts and snapshots, all named by the container's id. `ids` finds them, `remove`
undoes any part of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from dataclasses import dataclass

from core.errdefs import NotFound
from core.failpoint import failpoint
from core.files.atomic import write_atomic
from core.files.dirs import make_dirs, remove_tree
from core.linux.idmap import bind_mapped, unbind
from core.linux.mount import MNT_DETACH, mount_all, umount2, umount_all
from core.log import get_logger
from core.snapshots.mapped import mount_mapped
from core.snapshots.snapshotters import Snapshotters
from core.steps import step
from cri.container.image_mounts import ImageMounts
from cri.container.volumes import Volumes

log = get_logger(__name__)

_ID = re.compile("[0-9a-f]{64}")  # of snapshots those that are a container's


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedUsers:
    """Those of a pod's own user namespace."""

    namespace: str
    """Where it is pinned."""
    root: tuple[int, int]
    """The node's user and group that are its root."""


class Bundles:
    """The bundles below one state directory. All calls block."""

    def __init__(self, root: str, snapshotters: Snapshotters, volumes: Volumes) -> None:
        self._root = root
        make_dirs(root, 0o711)
        self._snapshotters = snapshotters
        self.images = ImageMounts(root, snapshotters)
        self.volumes = volumes

    def path(self, container_id: str) -> str:
        return os.path.join(self._root, container_id)

    def rootfs(self, container_id: str) -> str:
        return os.path.join(self._root, container_id, "rootfs")

    def prepare(
        self, container_id: str, chain_id: str, users: MappedUsers | None = None, *, snapshotter: str = ""
    ) -> str:
        """Make the bundle with its root filesystem mounted, for `users` when they are not the node's; return the path
        of the latter.

        Raises NotFound when the image's snapshot is gone, FailedPrecondition when the filesystem cannot map users.
        """
        rootfs = self.rootfs(container_id)
        make_dirs(rootfs, 0o700)
        failpoint("bundle.prepare.made")
        with step("snapshot"):
            mounts = self._snapshotters.get(snapshotter).prepare(container_id, chain_id)
        failpoint("bundle.prepare.snapshot")
        with step("mount"):
            if users is None:
                mount_all(mounts, rootfs)
            else:
                self._let_in(container_id, users)
                mount_mapped(mounts, rootfs, self._scratch(container_id), users.namespace, users.root)
        failpoint("bundle.prepare.mounted")
        return rootfs

    def map_volume(self, container_id: str, path: str, users: MappedUsers, propagation: int) -> str:
        """Show `path` of the node to `users` as if it were theirs; return where. OCI runtimes before crun 1.9 and runc
        1.2 cannot, so they get a mount that is made.

        Raises FailedPrecondition when the filesystem cannot map users.
        """
        mapped = self._mapped(container_id)
        make_dirs(mapped, 0o711)
        target = os.path.join(mapped, str(len(os.listdir(mapped))))
        if os.path.isdir(path):
            os.mkdir(target, 0o700)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL, 0o600))
        bind_mapped(path, target, users.namespace, propagation=propagation)
        return target

    def _let_in(self, container_id: str, users: MappedUsers) -> None:
        """The OCI runtime passes through as the pod's root, which is nobody to the node."""
        os.chown(self.path(container_id), -1, users.root[1])
        os.chmod(self.path(container_id), 0o710)

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
        """Leave nothing of the container. Success when absent."""
        self.release(container_id)
        self.clean_up()

    def clean_up(self) -> None:
        """Delete what was released. What cannot be deleted is logged, and tried again the next time."""
        try:
            self._snapshotters.cleanup()
        except OSError as exc:
            log.error("files of a removed container stay for now", error=exc)

    def release(self, container_id: str) -> None:
        """Unmount, drop the snapshots, the volumes and the directory; the container's own files, which can be many, go
        with `clean_up`, or the next daemon's. Success when absent."""
        self.images.remove(container_id)
        with step("unmount"):
            _unmount(self.rootfs(container_id))
        failpoint("bundle.remove.unmounted")
        self.volumes.remove(container_id)
        umount_all(self._scratch(container_id))
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._mapped(container_id)):
                unbind(os.path.join(self._mapped(container_id), name))
        with step("snapshot"), contextlib.suppress(NotFound):
            self._snapshotters.of(container_id).remove(container_id)
        failpoint("bundle.remove.unsnapped")
        remove_tree(self.path(container_id))

    def snapshotter(self, container_id: str) -> str:
        """The name of the one that has the container's root filesystem, "" when none has."""
        try:
            return self._snapshotters.holder(container_id)
        except NotFound:
            return ""

    def ids(self) -> list[str]:
        """The container ids of which there is something, with or without a record; after a reboot not the bundle."""
        writable = (one.name for one in self._snapshotters.walk() if _ID.fullmatch(one.name))
        return list({*os.listdir(self._root), *self.volumes.ids(), *writable})

    def _scratch(self, container_id: str) -> str:
        return os.path.join(self._root, container_id, "layers")

    def _mapped(self, container_id: str) -> str:
        return os.path.join(self._root, container_id, "mapped")

    def _spec_path(self, container_id: str) -> str:
        return os.path.join(self._root, container_id, "config.json")


def _unmount(path: str) -> None:
    """Unmount, lazily: a process that still holds a file there must not keep the container from being removed."""
    try:
        umount2(path, MNT_DETACH)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOENT):  # not mounted, not there
            raise
