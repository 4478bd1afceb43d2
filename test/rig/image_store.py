"""An image store in memory, for tests of pulls; the real one is in core.metadata."""

import dataclasses

from core.errdefs import NotFound
from core.images.images import Image, ImageStore


class MemoryImages:
    def __init__(self):
        self._images: dict[str, Image] = {}

    def get(self, ref):
        for image in self._images.values():
            if ref == image.id or ref in image.names:
                return image
        raise NotFound(f"image {ref!r}")

    def list(self):
        return tuple(self._images.values())

    def put(self, image, names):
        names = tuple(names)
        for other in self._images.values():
            left = tuple(name for name in other.names if name not in names)
            self._images[other.id] = dataclasses.replace(other, names=left)
        kept = self._images[image.id].names if image.id in self._images else ()
        stored = dataclasses.replace(image, names=(*kept, *names))
        self._images[image.id] = stored
        return stored

    def remove(self, image_id):
        try:
            return self._images.pop(image_id)
        except KeyError:
            raise NotFound(f"image {image_id}") from None

    def remove_name(self, name):
        image = self.get(name)
        left = tuple(other for other in image.names if other != name)
        if left:
            self._images[image.id] = dataclasses.replace(image, names=left)
        else:
            self.remove(image.id)


_fits: type[ImageStore] = MemoryImages
