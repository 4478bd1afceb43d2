"""ImageFsInfo: the kubelet asks every ten seconds, and evicts pods by the answer."""

from __future__ import annotations

import asyncio

from cri import api
from cri.image.deps import ImageDeps


async def image_fs_info(deps: ImageDeps) -> api.ImageFsInfoResponse:
    """What images and the writable layers of containers take, which are on one filesystem. Nothing is walked."""
    run = asyncio.get_running_loop().run_in_executor
    images = await run(deps.filesystem, deps.space_of_images)
    layers = await run(deps.filesystem, deps.space_of_containers)
    filesystem = api.FilesystemUsage(
        timestamp=deps.clock(),
        fs_id=api.FilesystemIdentifier(mountpoint=deps.image_root),
        used_bytes=api.UInt64Value(value=images.size + layers.size),
        inodes_used=api.UInt64Value(value=images.inodes + layers.inodes),
    )
    return api.ImageFsInfoResponse(image_filesystems=[filesystem], container_filesystems=[filesystem])
