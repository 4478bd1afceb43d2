"""The one module that names concrete classes: from settings to an open core."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from uuid import uuid4

from google.protobuf.descriptor import ServiceDescriptor

from core.content.local import LocalContent
from core.errdefs import NotFound, ResourceExhausted, Unavailable
from core.files.atomic import write_atomic
from core.files.dirs import make_dirs
from core.health import PATIENCE, Health
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
from core.images.verification import ImageVerifier, Policy
from core.linux.pidfd import boot_id
from core.linux.rlimit import raise_open_files
from core.log import get_logger
from core.metadata.database import Database
from core.metadata.images import SqliteImages
from core.metadata.leases import Leases
from core.metadata.mirror import MirroredRecords
from core.metadata.records import RecordStore
from core.metadata.sqlite_records import SqliteRecords
from core.network.attachments import AttachmentFiles
from core.network.builtin.bridge import BridgeConfig, open_bridge
from core.network.choice import ChosenNetwork
from core.network.cni import CniConfig, open_cni
from core.network.network import Network
from core.nri.service import NriConfig, NriService
from core.remotes.keychain import Keychain
from core.remotes.registry import Registry
from core.sandbox.choice import ChosenController
from core.sandbox.controller import SandboxController
from core.sandbox.pause import PauseController
from core.sandbox.pinned import PinnedController
from core.sandbox.roots import Roots
from core.services.services import ServiceDeps, make_services
from core.shims.bundle import Runtime
from core.shims.manager import ShimManager
from core.snapshots.overlay import OverlaySnapshotter
from core.snapshots.snapshotter import Snapshotter, Usage
from core.tasks.service import ShimTasks
from core.tasks.tasks import Tasks
from core.telemetry import SILENT, Telemetry
from core.zygote.process import ZygoteProcess
from core.zygote.watch import ZygoteWatch
from core.zygote.zygote import Zygote

log = get_logger(__name__)

OPEN_FILES = 65536
"""Wanted of this process: the statistics of 250 pods with three containers keep 8,000 open, and clients some each."""
FILESYSTEM_THREADS = 4
"""Enough to keep two disks busy; more only fight for the GIL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    root: str
    state: str
    handlers: Mapping[str, Runtime]
    """OCI runtimes by runtime handler; "" is the default one."""
    registry_config: str
    registry_auth: str
    image_policy: Policy
    cni: CniConfig
    builtin: bool
    bridge: str
    subnet: str
    layers_at_once: int
    pinned: tuple[str, ...]
    nri: NriConfig


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
class Core:
    """Everything below CRI, open."""

    images: Images
    snapshotter: Snapshotter
    zygote: Zygote
    records: RecordStore
    shims: ShimManager
    tasks: Tasks
    controllers: Mapping[str, SandboxController]
    network: Network
    nri: NriService
    metadata: Executor
    filesystem: Executor
    rebooted: bool
    """Whether the node was booted since the last crispd ran: then nothing of its processes is left."""
    problems: Callable[[], Mapping[str, str]]


@contextlib.asynccontextmanager
async def open_core(config: CoreConfig, telemetry: Telemetry = SILENT) -> AsyncIterator[Core]:
    """The core on its directories, while the block runs. Containers run on after it."""
    make_dirs(config.root, 0o700)
    make_dirs(config.state, 0o711)
    async with contextlib.AsyncExitStack() as stack:
        metadata = stack.enter_context(ThreadPoolExecutor(1, "metadata"))
        filesystem = stack.enter_context(ThreadPoolExecutor(FILESYSTEM_THREADS, "filesystem"))
        zygote = ZygoteProcess(open_files=raise_open_files(OPEN_FILES))
        await zygote.start()
        stack.push_async_callback(zygote.stop)
        database, problem = _open_database(config)
        stack.callback(database.close)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        shims = ShimManager(config.state, zygote, group)
        stack.callback(shims.leave)
        tasks = ShimTasks(shims)
        await stack.enter_async_context(tasks.listening())
        network = await _open_network(config, stack, filesystem, group, telemetry)
        snapshotter = OverlaySnapshotter(os.path.join(config.root, "snapshots"), boot_id=boot_id())
        records = MirroredRecords(SqliteRecords(database), os.path.join(config.state, "records"))
        images = await _open_images(
            config,
            stack,
            store=SqliteImages(database),
            records=records,
            snapshotter=snapshotter,
            zygote=zygote,
            metadata=metadata,
            filesystem=filesystem,
            telemetry=telemetry,
        )
        pause = PauseController(
            manager=shims,
            tasks=tasks,
            runtimes=config.handlers,
            roots=Roots(config.state, snapshotter),
            find_image=partial(_find_image, images),
            executor=filesystem,
        )
        controller = ChosenController(PinnedController(shims, config.handlers), pause, config.handlers)
        health = Health(
            {
                "metadata": lambda: _check_database(database, metadata, problem),
                "zygote": ZygoteWatch(zygote, PATIENCE).check,
                "OCI runtime": lambda: _check_runtime(config.handlers[""], filesystem),
            }
        )
        stack.callback(group.create_task(health.run()).cancel)
        yield Core(
            images=images,
            snapshotter=snapshotter,
            zygote=zygote,
            records=records,
            shims=shims,
            tasks=tasks,
            controllers=dict.fromkeys(config.handlers, controller),
            network=network,
            nri=NriService(config.nri, group),
            metadata=metadata,
            filesystem=filesystem,
            rebooted=_rebooted(config.root),
            problems=health.problems,
        )


async def _open_images(
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
        node_id=_node_id(config.root),
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


async def _find_image(images: Images, reference: str) -> Image:
    try:
        return find_image(images.store, reference)
    except NotFound:
        return await images.puller.pull(reference)


def _open_database(config: CoreConfig) -> tuple[Database, str]:
    """The database; or an empty one in the state directory, and why: what runs can be listed and stopped then, too."""
    path, stand_in = (os.path.join(directory, "metadata.db") for directory in (config.root, config.state))
    try:
        return Database(path), ""
    except (Unavailable, ResourceExhausted, OSError) as exc:
        problem = f"{path} cannot be used; start crispd again when it can: {exc}"
        log.error("metadata replaced", by=stand_in, reason=problem)
    for name in (stand_in, f"{stand_in}-wal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    return Database(stand_in), problem


async def _check_database(database: Database, metadata: Executor, problem: str) -> str:
    await asyncio.get_running_loop().run_in_executor(metadata, database.check)
    return problem


async def _check_runtime(runtime: Runtime, filesystem: Executor) -> str:
    binary = runtime.binary or runtime.shim
    there = await asyncio.get_running_loop().run_in_executor(filesystem, os.access, binary, os.X_OK)
    return "" if there else f"{binary} is missing or cannot be run: install it, or name another as runtimes.default"


async def _open_network(
    config: CoreConfig,
    stack: contextlib.AsyncExitStack,
    executor: Executor,
    group: asyncio.TaskGroup,
    telemetry: Telemetry,
) -> Network:
    attachments = AttachmentFiles(os.path.join(config.root, "cni"))
    cni = await stack.enter_async_context(open_cni(config.cni, attachments, executor, group, telemetry))
    if not config.builtin:
        return cni
    bridge = BridgeConfig(root=os.path.join(config.root, "leases"), bridge=config.bridge, subnets=(config.subnet,))
    return ChosenNetwork(cni, await stack.enter_async_context(open_bridge(bridge, executor, group)))


def _node_id(root: str) -> str:
    """Made once and kept with the content that it stands for."""
    path = os.path.join(root, "uuid")
    with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as file:
        return file.read()
    made = str(uuid4())
    with contextlib.suppress(OSError):  # see _rebooted
        write_atomic(path, made.encode())
    return made


def _rebooted(root: str) -> bool:
    """Compare the boot with the one that was noted, and note this one."""
    path, now = os.path.join(root, "boot_id"), boot_id().encode()
    try:
        with open(path, "rb") as file:
            before = file.read()
    except FileNotFoundError:
        before = now
    if before != now or not os.path.exists(path):
        with contextlib.suppress(OSError):  # a disk that cannot be written: this node is not ready, but it answers
            write_atomic(path, now)
    return before != now
