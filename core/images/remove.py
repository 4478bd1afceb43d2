"""Removing an image, with what only it needed."""

from __future__ import annotations

from core.failpoint import failpoint
from core.images.blocking import Blocking
from core.images.gc import Collector
from core.images.images import Image, ImageStore
from core.types import Digest


class Remover:
    def __init__(self, *, images: ImageStore, collector: Collector, blocking: Blocking) -> None:
        self._images = images
        self._collector = collector
        self._blocking = blocking

    async def remove(self, image_id: Digest) -> Image:
        """Forget the image and all its names, and free its space before returning. Raises NotFound.

        A crash in between leaves blobs and snapshots without an image, which the next collection removes.
        """
        image = await self._blocking(self._images.remove, image_id)
        failpoint("image.remove.forgotten")
        await self._collector.collect()
        return image
