"""What the image verbs work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from core.images.images import ImageStore
from core.images.pull import Puller
from core.images.remove import Remover
from core.snapshots.snapshotter import Usage
from cri.config.config import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDeps:
    images: ImageStore
    puller: Puller
    remover: Remover
    handlers: Mapping[str, Runtime]
    """By runtime handler; "" is the default one."""
    filesystem: Executor
    image_root: str
    """The directory that holds content and snapshots, which ImageFsInfo names their filesystem by."""
    space_of_images: Callable[[], Usage]
    space_of_containers: Callable[[], Usage]
    """Both may block, but not for long."""
    clock: Callable[[], int]
    """Nanoseconds since the epoch."""
