"""What the image verbs work with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from core.images.images import ImageStore
from core.images.pull import Puller
from core.images.remove import Remover


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDeps:
    images: ImageStore
    puller: Puller
    remover: Remover
    filesystem: Executor
    image_root: str
    """The directory that holds content and snapshots: what ImageFsInfo measures."""
    clock: Callable[[], int]
    """Nanoseconds since the epoch."""
