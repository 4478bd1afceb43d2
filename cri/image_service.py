"""runtime.v1.ImageService: each RPC unwraps, calls its verb, wraps."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from cri import api
from cri.image.deps import ImageDeps
from cri.image.fs_info import image_fs_info
from cri.image.pull import pull_image
from cri.image.remove import remove_image
from cri.image.status import image_status, list_images, stream_images


class ImageService:
    def __init__(self, images: ImageDeps) -> None:
        self._images = images

    async def list_images(self, request: api.ListImagesRequest) -> api.ListImagesResponse:
        return api.ListImagesResponse(images=list_images(self._images, request.filter))

    def stream_images(self, request: api.StreamImagesRequest) -> AsyncGenerator[bytes, None]:
        return stream_images(self._images, request.filter)

    async def image_status(self, request: api.ImageStatusRequest) -> api.ImageStatusResponse:
        return image_status(self._images, request)

    async def pull_image(self, request: api.PullImageRequest) -> api.PullImageResponse:
        return api.PullImageResponse(image_ref=await pull_image(self._images, request))

    async def remove_image(self, request: api.RemoveImageRequest) -> api.RemoveImageResponse:
        await remove_image(self._images, request.image.image)
        return api.RemoveImageResponse()

    async def image_fs_info(self, _request: api.ImageFsInfoRequest) -> api.ImageFsInfoResponse:
        return await image_fs_info(self._images)
