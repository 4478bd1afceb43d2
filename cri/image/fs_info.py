"""ImageFsInfo."""

from __future__ import annotations

import asyncio

from core.files.usage import disk_usage
from cri import api
from cri.image.deps import ImageDeps


async def image_fs_info(deps: ImageDeps) -> api.ImageFsInfoResponse:
    """What images and containers take on disk: content and snapshots, counted."""
    usage = await asyncio.get_running_loop().run_in_executor(deps.filesystem, disk_usage, deps.image_root)
    filesystem = api.FilesystemUsage(
        timestamp=deps.clock(),
        fs_id=api.FilesystemIdentifier(mountpoint=deps.image_root),
        used_bytes=api.UInt64Value(value=usage.size),
        inodes_used=api.UInt64Value(value=usage.inodes),
    )
    return api.ImageFsInfoResponse(image_filesystems=[filesystem], container_filesystems=[filesystem])
