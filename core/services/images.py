"""containerd.services.images.v1.Images over the image store.

A name stands for the manifest of this node's platform, also where a client gave an index. What `Create` and `Update`
name is verified and unpacked before they return, so that pods can use it at once. Labels are told, not kept.
"""

from __future__ import annotations

import contextlib

from google.protobuf.empty_pb2 import Empty

from core.api import images_service_pb2 as api
from core.api.descriptor_pb2 import Descriptor as WireDescriptor
from core.errdefs import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from core.images.blocking import Blocking
from core.images.gc import Collector
from core.images.images import Image, ImageStore
from core.images.pull import Puller
from core.remotes.reference import Reference
from core.services.caller import Namespaced
from core.services.filters import passing
from core.services.times import timestamp
from core.types import Descriptor, digest

_MANAGED, _PINNED = "io.cri-containerd.image", "io.cri-containerd.pinned"  # containerd's, of images that CRI shows


class ImagesService(Namespaced):
    def __init__(self, images: ImageStore, puller: Puller, collector: Collector, blocking: Blocking) -> None:
        self._images = images
        self._puller = puller
        self._collector = collector
        self._blocking = blocking

    async def get(self, request: api.GetImageRequest) -> api.GetImageResponse:
        name = _full(request.name)
        return api.GetImageResponse(image=_to_api(self._named(name), name))

    async def list(self, request: api.ListImagesRequest) -> api.ListImagesResponse:
        listed = (_to_api(image, name) for image in self._images.list() for name in image.names)
        fields = ((_fields(image), image) for image in listed)
        return api.ListImagesResponse(images=passing(request.filters, fields))

    async def create(self, request: api.CreateImageRequest) -> api.CreateImageResponse:
        name = _full(request.image.name)
        with contextlib.suppress(NotFound):
            self._named(name)
            raise AlreadyExists(f"image {name!r}")
        return api.CreateImageResponse(image=await self._adopt(name, request.image.target))

    async def update(self, request: api.UpdateImageRequest) -> api.UpdateImageResponse:
        name = _full(request.image.name)
        image = self._named(name)
        if request.update_mask.paths and "target" not in request.update_mask.paths:
            return api.UpdateImageResponse(image=_to_api(image, name))
        return api.UpdateImageResponse(image=await self._adopt(name, request.image.target))

    async def delete(self, request: api.DeleteImageRequest) -> Empty:
        """The name; with an image's last one the image, and what only it needed if the client waits for that."""
        name = _full(request.name)
        target = self._named(name).target.digest
        if request.HasField("target") and request.target.digest != target:
            raise FailedPrecondition(f"image {name!r} is {target} by now")
        await self._blocking(self._images.remove_name, name)
        if request.sync:
            await self._collector.collect()
        return Empty()

    def _named(self, name: str) -> Image:
        """Raises NotFound. An id is no name."""
        image = self._images.get(name)
        if name not in image.names:
            raise NotFound(f"image {name!r}")
        return image

    async def _adopt(self, name: str, target: WireDescriptor) -> api.Image:
        if target.size < 0:
            raise InvalidArgument(f"image {name!r}: a target of {target.size} bytes")
        descriptor = Descriptor(media_type=target.media_type, digest=digest(target.digest), size=target.size)
        return _to_api(await self._puller.adopt(name, descriptor), name)


def _full(name: str) -> str:
    """Raises InvalidArgument."""
    return str(Reference.parse(name))


def _to_api(image: Image, name: str) -> api.Image:
    target = image.target
    at = timestamp(image.created_at)
    return api.Image(
        name=name,
        labels={_MANAGED: "managed", **({_PINNED: "pinned"} if image.pinned else {})},
        target=WireDescriptor(media_type=target.media_type, digest=target.digest, size=target.size),
        created_at=at,
        updated_at=at,
    )


def _fields(image: api.Image) -> dict[str, object]:
    target = {"digest": image.target.digest, "mediatype": image.target.media_type}
    return {"name": image.name, "target": target, "labels": dict(image.labels)}
