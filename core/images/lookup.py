"""Finding an image by what a user or the kubelet calls it."""

from __future__ import annotations

from core.errdefs import InvalidArgument, NotFound
from core.images.images import Image, ImageStore
from core.remotes.reference import Reference

_ID = "sha256:"


def find_image(images: ImageStore, name: str) -> Image:
    """By id, by a name in any form that Reference knows, or by a prefix of an id. Raises NotFound, InvalidArgument.

    What looks like an id is one, so that no image can be pushed under a name that stands for another (`sha256:<hex>`).
    """
    if not name.startswith(_ID):
        try:
            return images.get(str(Reference.parse(name)))
        except (InvalidArgument, NotFound):
            pass  # not a name, or not one that is here
    return images.get(name)
