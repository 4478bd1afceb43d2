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
from core.images.places import Places
from core.images.platforms import host_platform
from core.images.pull import Puller
from core.images.remove import Remover
from core.images.space import space_of_images
from core.images.upkeep import Upkeep
from core.images.verification import ImageVerifier
from core.metadata.content_labels import ContentLabels
from core.metadata.leases import Leases
from core.metadata.records import RecordStore
from core.remotes.foreign import ForeignHosts
from core.remotes.keychain import Keychain
from core.remotes.ranges import Splitting
from core.remotes.registry import Registry
from core.services.services import ServiceDeps, make_services
from core.snapshots.snapshotter import Usage
from core.snapshots.snapshotters import Snapshotters
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What all parts stand on."""

    config: CoreConfig
    store: ImageStore
    content: LocalContent
    snapshotters: Snapshotters
    places: Places
    holds: Holds
    blocking: Blocking
    registry: Registry
    verifier: ImageVerifier
    leases: Leases
    labels: ContentLabels
    telemetry: Telemetry


async def open_images(
    config: CoreConfig,
    stack: contextlib.AsyncExitStack,
    *,
    store: ImageStore,
    records: RecordStore,
    snapshotters: Snapshotters,
    zygote: Zygote,
    metadata: Executor,
    filesystem: Executor,
    telemetry: Telemetry,
) -> Images:
    """All of it, with leases as an earlier daemon left them; `stack` closes it."""
    keychain = Keychain(config.registry_auth)
    registry = Registry(
        config_path=config.registry_config,
        executor=filesystem,
        keychain=keychain,
        foreign=ForeignHosts(config.foreign_hosts),
        splitting=Splitting(at_once=config.ranges_at_once),
        telemetry=telemetry,
    )
    holds, blocking = Holds(), Blocking(filesystem)
    content = LocalContent(os.path.join(config.root, "content"))
    leases = Leases(records, holds, Blocking(metadata), time.time)
    labels = ContentLabels(records, Blocking(metadata), leases)
    ground = _Ground(
        config=config,
        store=store,
        content=content,
        snapshotters=snapshotters,
        places=Places(content, snapshotters, zygote, holds, blocking),
        holds=holds,
        blocking=blocking,
        registry=await stack.enter_async_context(registry),
        verifier=ImageVerifier(config.image_policy),
        leases=leases,
        labels=labels,
        telemetry=telemetry,
    )
    await leases.load()
    await labels.load()
    return _images(ground)


def _images(ground: _Ground) -> Images:
    puller, collector, closing = _puller(ground), _collector(ground), asyncio.Event()
    return Images(
        store=ground.store,
        puller=puller,
        verifier=ground.verifier,
        remover=Remover(images=ground.store, collector=collector, blocking=ground.blocking),
        collector=collector,
        space=lambda: space_of_images(ground.content, ground.snapshotters),
        services=make_services(_service_deps(ground, puller, collector, closing)),
        closing=closing,
    )


def _puller(ground: _Ground) -> Puller:
    return Puller(
        registry=ground.registry,
        images=ground.store,
        content=ground.content,
        places=ground.places,
        holds=ground.holds,
        blocking=ground.blocking,
        platform=host_platform(),
        clock=time.time,
        layers_at_once=ground.config.layers_at_once,
        pinned=ground.config.pinned,
        foreign=ForeignHosts(ground.config.foreign_hosts),
        verifier=ground.verifier,
        telemetry=ground.telemetry,
    )


def _collector(ground: _Ground) -> Collector:
    return Collector(
        images=ground.store,
        content=ground.content,
        snapshotters=ground.snapshotters,
        holds=ground.holds,
        blocking=ground.blocking,
        clock=time.time,
        expire=ground.leases.expire,
        references=ground.labels,
        telemetry=ground.telemetry,
    )


def _upkeep(ground: _Ground, puller: Puller) -> Upkeep:
    return Upkeep(
        images=ground.store,
        content=ground.content,
        snapshotters=ground.snapshotters,
        places=ground.places,
        puller=puller,
        registry=ground.registry,
        holds=ground.holds,
        blocking=ground.blocking,
    )


def _service_deps(ground: _Ground, puller: Puller, collector: Collector, closing: asyncio.Event) -> ServiceDeps:
    return ServiceDeps(
        images=ground.store,
        content=ground.content,
        labels=ground.labels,
        snapshotters=ground.snapshotters,
        puller=puller,
        collector=collector,
        leases=ground.leases,
        upkeep=_upkeep(ground, puller),
        blocking=ground.blocking,
        platform=host_platform(),
        closing=closing,
        node_id=node_id(ground.config.root),
        version=version("crispd"),
    )


async def find_or_pull(images: Images, reference: str, snapshotter: str) -> Image:
    """The image, unpacked in `snapshotter`."""
    try:
        image = find_image(images.store, reference)
    except NotFound:
        return await images.puller.pull(reference, snapshotter=snapshotter)
    await images.puller.unpack(image, snapshotter)
    return image
