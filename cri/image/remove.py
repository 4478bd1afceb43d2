"""RemoveImage."""

from __future__ import annotations

import contextlib

from core.errdefs import InvalidArgument, NotFound
from core.images.lookup import find_image
from core.log import get_logger
from cri.image.deps import ImageDeps

log = get_logger(__name__)


async def remove_image(deps: ImageDeps, name: str) -> None:
    """Remove the image with all its names, and what only it needed. Success when it is not here (CRI, RemoveImage)."""
    if not name:
        raise InvalidArgument("RemoveImage: image is empty")
    with contextlib.suppress(NotFound):
        image = find_image(deps.images, name)
        await deps.remover.remove(image.id)
        log.info("image removed", image=name, id=image.id)
