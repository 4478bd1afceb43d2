"""What the container verbs work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from core.images.images import Image, ImageStore
from core.images.verification import ImageVerifier
from core.tasks.tasks import Tasks
from core.zygote.zygote import Zygote
from cri.config.config import Runtime
from cri.container.bundles import Bundles
from cri.container.exits import Exits
from cri.container.spec.source import Facts
from cri.container.stopping import Stopping
from cri.nri.hooks import Hooks
from cri.store.container import Container
from cri.store.locks import Locks
from cri.store.operations import Operations
from cri.store.ready import Ready
from cri.store.sandbox import PodSandbox
from cri.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDeps:
    containers: Store[Container]
    statuses: Ready[Container]
    sandboxes: Store[PodSandbox]
    images: ImageStore
    verifier: ImageVerifier
    unpack: Callable[[Image, str], Awaitable[None]]
    """Have an image in the snapshotter of a name."""
    tasks: Tasks
    bundles: Bundles
    exits: Exits
    stopping: Stopping
    removing: set[str]
    """Ids of those that RemoveContainer is at."""
    operations: Operations
    locks: Locks
    nri: Hooks
    zygote: Zygote
    handlers: Mapping[str, Runtime]
    """By runtime handler; "" is the default one."""
    facts: Facts
    cdi_dirs: tuple[str, ...]
    blockio_file: str
    etc: str
    """Directory of the pods' files."""
    filesystem: Executor
    new_id: Callable[[], str]
    clock: Callable[[], int]
    """Nanoseconds since the epoch."""
