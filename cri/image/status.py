"""ImageStatus and ListImages."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from core.errdefs import NotFound
from core.images.images import Image
from core.images.lookup import find_image
from cri import api
from cri.image.deps import ImageDeps
from cri.store.batches import each, in_batches
from cri.store.store import frame


def image_status(deps: ImageDeps, request: api.ImageStatusRequest) -> api.ImageStatusResponse:
    """An image that is not here is an empty response, not an error (CRI, ImageStatus). Verbose info of a name that is
    being pulled has its progress."""
    name = request.image.image
    try:
        image = find_image(deps.images, name)
    except NotFound:
        return api.ImageStatusResponse(info=_progress(deps, name) if request.verbose else None)
    info = {**_progress(deps, name), "info": json.dumps(verbose_info(image))} if request.verbose else None
    return api.ImageStatusResponse(image=to_api(image), info=info)


def list_images(deps: ImageDeps, filter_: api.ImageFilter) -> list[api.Image]:
    """All images, or the one that the filter names."""
    return [to_api(image) for image in _chosen(deps, filter_)]


def stream_images(deps: ImageDeps, filter_: api.ImageFilter) -> AsyncGenerator[bytes, None]:
    """The same as serialised StreamImagesResponses."""
    chosen = _chosen(deps, filter_)
    return in_batches(each(frame(to_api(image).SerializeToString()) for image in chosen))


def _chosen(deps: ImageDeps, filter_: api.ImageFilter) -> Sequence[Image]:
    if not filter_.image.image:
        return deps.images.list()
    try:
        return [find_image(deps.images, filter_.image.image)]
    except NotFound:
        return []


def to_api(image: Image) -> api.Image:
    uid, username = _user(image)
    return api.Image(
        id=image.id,
        repo_tags=[name for name in image.names if "@" not in name],
        repo_digests=[name for name in image.names if "@" in name],
        size=image.size,
        uid=uid,
        username=username,
        spec=api.ImageSpec(image=image.id, annotations=dict(image.annotations)),
        pinned=image.pinned,
    )


def _user(image: Image) -> tuple[api.Int64Value | None, str]:
    """The user part of the image's USER, as a uid if it is a number and else as a name (CRI: Image.uid, username)."""
    user = str(_config(image).get("User") or "").split(":")[0]
    if user.isascii() and user.isdigit():
        return api.Int64Value(value=int(user)), ""
    return None, user


def _config(image: Image) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(image.config)
    return document.get("config") or {}


def verbose_info(image: Image) -> dict[str, object]:
    """The keys that containerd's verbose status has, since tools read them."""
    return {"chainID": image.chain_id, "imageSpec": msgspec.json.decode(image.config)}


def _progress(deps: ImageDeps, name: str) -> dict[str, str]:
    progress = deps.puller.progress(name)
    return {"progress": msgspec.json.encode(progress).decode()} if progress else {}
