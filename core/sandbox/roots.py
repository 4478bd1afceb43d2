"""Bundles of root containers.

    <state>/roots/<sandbox id>/config.json    what the pod's shim runs
                               rootfs/        snapshot `root-<sandbox id>`, mounted

What a crash leaves is named by the sandbox's id: a directory, after a reboot the snapshot alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from core.errdefs import NotFound
from core.failpoint import failpoint
from core.files.atomic import write_atomic
from core.files.dirs import make_dirs, remove_tree
from core.images.images import Image
from core.linux.mount import MNT_DETACH, mount_all, umount_all
from core.log import get_logger
from core.oci.user import User, resolve
from core.sandbox.root_spec import image_user
from core.snapshots.snapshotters import Snapshotters

log = get_logger(__name__)

_SNAPSHOT = "root-"


class Roots:
    """All calls block."""

    def __init__(self, state: str, snapshotters: Snapshotters) -> None:
        self._directory = os.path.join(state, "roots")
        self._snapshotters = snapshotters
        make_dirs(self._directory, 0o711)

    def path(self, sandbox_id: str) -> str:
        return os.path.join(self._directory, sandbox_id)

    def make(self, sandbox_id: str, image: Image, spec: Callable[[User], bytes], snapshotter: str) -> str:
        """Make the bundle, with what `spec` writes for the image's user; return its path.

        Raises NotFound when the image's snapshot is gone, InvalidArgument (the image's user), what `spec` raises.
        """
        rootfs = os.path.join(self.path(sandbox_id), "rootfs")
        make_dirs(self.path(sandbox_id), 0o700)
        make_dirs(rootfs, 0o755)
        failpoint("sandbox.root.made")
        mount_all(self._snapshotters.get(snapshotter).prepare(_SNAPSHOT + sandbox_id, image.chain_id), rootfs)
        failpoint("sandbox.root.mounted")
        document = spec(resolve(rootfs, image_user(image)))
        write_atomic(os.path.join(self.path(sandbox_id), "config.json"), document, durable=False)
        return self.path(sandbox_id)

    def made_at(self, sandbox_id: str) -> float:
        """Seconds since the epoch."""
        return os.stat(os.path.join(self.path(sandbox_id), "config.json")).st_mtime

    def has(self, sandbox_id: str) -> bool:
        """Whether there is anything of the sandbox's."""
        return os.path.isdir(self.path(sandbox_id)) or self._has_snapshot(sandbox_id)

    def ids(self) -> set[str]:
        """The sandboxes of which there is something."""
        names = (info.name for info in self._snapshotters.walk())
        found = {name.removeprefix(_SNAPSHOT) for name in names if name.startswith(_SNAPSHOT)}
        return found.union(os.listdir(self._directory))

    def remove(self, sandbox_id: str) -> None:
        """Unmount, drop the snapshot and the directory. Success when absent."""
        umount_all(os.path.join(self.path(sandbox_id), "rootfs"), MNT_DETACH)
        failpoint("sandbox.root.unmounted")
        with contextlib.suppress(NotFound):
            self._snapshotters.of(_SNAPSHOT + sandbox_id).remove(_SNAPSHOT + sandbox_id)
        remove_tree(self.path(sandbox_id))
        try:
            self._snapshotters.cleanup()
        except OSError as exc:  # tried again the next time
            log.error("files of a removed root container stay for now", sandbox_id=sandbox_id, error=exc)

    def _has_snapshot(self, sandbox_id: str) -> bool:
        try:
            self._snapshotters.of(_SNAPSHOT + sandbox_id)
        except NotFound:
            return False
        return True
