"""The part of the core that images need: what comes, stays and goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib.metadata import version

from google.protobuf.descriptor import ServiceDescriptor

from core.content.local import LocalContent
from core.errdefs import NotFound
from core.images.blocking import Blocking
from core.images.gc import Collector
from core.images.holds import Holds
from core.images.images import Image, ImageStore
from core.images.lookup import find_image
from core.images.platforms import host_platform
from core.images.pull import Puller
from core.images.remove import Remover
from core.images.space import space_of_images
from core.images.upkeep import Upkeep
from core.images.verification import ImageVerifier
from core.metadata.leases import Leases
from core.metadata.records import RecordStore
from core.remotes.keychain import Keychain
from core.remotes.registry import Registry
from core.services.services import ServiceDeps, make_services
from core.snapshots.snapshotter import Snapshotter, Usage
from core.telemetry import Telemetry
from core.wiring.config import CoreConfig
from core.wiring.node import node_id
from core.zygote.zygote import Zygote


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """What comes, stays and goes."""

    store: ImageStore
    puller: Puller
    verifier: ImageVerifier
    remover: Remover
    collector: Collector
    space: Callable[[], Usage]
    """On disk; it may block."""
    services: list[tuple[ServiceDescriptor, object]]
    """containerd's, over all of this."""
    closing: asyncio.Event
    """To be set when the server closes: ends their streams."""


async def open_images(
    config: CoreConfig,
    stack: contextlib.AsyncExitStack,
    *,
    store: ImageStore,
    records: RecordStore,
    snapshotter: Snapshotter,
    zygote: Zygote,
    metadata: Executor,
    filesystem: Executor,
    telemetry: Telemetry,
) -> Images:
    registry = await stack.enter_async_context(
        Registry(
            config_path=config.registry_config,
            executor=filesystem,
            keychain=Keychain(config.registry_auth),
            telemetry=telemetry,
        )
    )
    content = LocalContent(os.path.join(config.root, "content"))
    holds, blocking = Holds(), Blocking(filesystem)
    verifier = ImageVerifier(config.image_policy)
    leases = Leases(records, holds, Blocking(metadata), time.time)
    await leases.load()
    puller = Puller(
        registry=registry,
        images=store,
        content=content,
        snapshots=snapshotter,
        zygote=zygote,
        holds=holds,
        blocking=blocking,
        platform=host_platform(),
        clock=time.time,
        layers_at_once=config.layers_at_once,
        pinned=config.pinned,
        verifier=verifier,
        telemetry=telemetry,
    )
    collector = Collector(
        images=store,
        content=content,
        snapshots=snapshotter,
        holds=holds,
        blocking=blocking,
        clock=time.time,
        expire=leases.expire,
        telemetry=telemetry,
    )
    closing = asyncio.Event()
    services = ServiceDeps(
        images=store,
        content=content,
        snapshotters={"": snapshotter, "overlayfs": snapshotter},
        puller=puller,
        collector=collector,
        leases=leases,
        upkeep=Upkeep(
            images=store,
            content=content,
            snapshots=snapshotter,
            puller=puller,
            registry=registry,
            holds=holds,
            blocking=blocking,
        ),
        blocking=blocking,
        platform=host_platform(),
        closing=closing,
        node_id=node_id(config.root),
        version=version("crispd"),
    )
    return Images(
        store=store,
        puller=puller,
        verifier=verifier,
        remover=Remover(images=store, collector=collector, blocking=blocking),
        collector=collector,
        space=lambda: space_of_images(content, snapshotter),
        services=make_services(services),
        closing=closing,
    )


async def find_or_pull(images: Images, reference: str) -> Image:
    try:
        return find_image(images.store, reference)
    except NotFound:
        return await images.puller.pull(reference)
