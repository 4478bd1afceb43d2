"""Images as volumes: what a mount's `image` asks for, mounted read-only for one container (KEP-4639).

    <state>/containers/<container id>/images/<number>      mount point of a view of the image
    snapshot <container id>-image-<number>                 the view, which holds the image's layers against collection

What a crash leaves bears the container's id: `remove` undoes any part of it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass

from core.errdefs import CrispError, InvalidArgument, NotFound
from core.files.dirs import make_dirs
from core.images.images import Image, ImageStore
from core.images.lookup import find_image
from core.linux.mount import mount_all, umount_all
from core.linux.openat2 import real_path
from core.snapshots.snapshotters import Snapshotters
from cri import api
from cri.errors import IMAGE_VOLUME_MOUNT_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedImage:
    """One image to mount."""

    container_path: str
    sub_path: str
    image: Image


def wanted_images(images: ImageStore, config: api.ContainerConfig) -> list[WantedImage]:
    """The images that the mounts ask for. Raises NotFound, InvalidArgument (with a host_path, or writable)."""
    return [_wanted(images, mount) for mount in config.mounts if mount.image.image]


def _wanted(images: ImageStore, mount: api.Mount) -> WantedImage:
    where = f"{IMAGE_VOLUME_MOUNT_FAILED}: mount {mount.container_path[:160]}"
    if mount.host_path:
        raise InvalidArgument(f"{where}: it has an image and a host_path")
    if not mount.readonly:
        raise InvalidArgument(f"{where}: an image is read-only, and readonly is not set")
    if ".." in mount.image_sub_path.split("/"):
        raise InvalidArgument(f"{where}: image_sub_path {mount.image_sub_path[:160]!r} has '..'")
    try:
        image = find_image(images, mount.image.image)
    except NotFound as exc:
        raise NotFound(f"{where}: image {mount.image.image!r} is not on this node: pull it first") from exc
    return WantedImage(container_path=mount.container_path, sub_path=mount.image_sub_path, image=image)


class ImageMounts:
    """Below the bundles in one directory. All calls block."""

    def __init__(self, root: str, snapshotters: Snapshotters) -> None:
        self._root = root
        self._snapshotters = snapshotters

    def make(self, container_id: str, number: int, wanted: WantedImage, *, snapshotter: str = "") -> str:
        """Mount it; return the path of what is wanted of it. Raises NotFound (image, sub path)."""
        target = os.path.join(self._directory(container_id), str(number))
        make_dirs(target, 0o700)
        try:
            snapshots = self._snapshotters.get(snapshotter)
            mount_all(snapshots.view(_key(container_id, number), wanted.image.chain_id), target)
            return _inside(target, wanted.sub_path) if wanted.sub_path else target
        except CrispError as exc:
            raise type(exc)(f"{IMAGE_VOLUME_MOUNT_FAILED}: mount {wanted.container_path[:160]}: {exc}") from exc

    def remove(self, container_id: str) -> None:
        """Unmount, and drop the views; also those whose directory a reboot has taken. Success when there is none.

        The last one first, so that a crash in between leaves those which are counted from 0.
        """
        for number in reversed(range(self._count(container_id))):
            umount_all(os.path.join(self._directory(container_id), str(number)))
            with contextlib.suppress(NotFound):
                self._snapshotters.of(_key(container_id, number)).remove(_key(container_id, number))

    def _count(self, container_id: str) -> int:
        for number in itertools.count():
            try:
                self._snapshotters.of(_key(container_id, number))
            except NotFound:
                break
        return number

    def _directory(self, container_id: str) -> str:
        return os.path.join(self._root, container_id, "images")


def _key(container_id: str, number: int) -> str:
    return f"{container_id}-image-{number}"


def _inside(root: str, path: str) -> str:
    """The real path of `path` in the image at `root`; its links lead nowhere else."""
    try:
        return real_path(root, path.lstrip("/") or ".")
    except OSError as exc:
        raise NotFound(f"image_sub_path {path[:160]!r}: {exc.strerror}") from exc
