"""From settings to an open core. This package alone names concrete classes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from core.errdefs import ResourceExhausted, Unavailable
from core.files.dirs import make_dirs
from core.health import PATIENCE, Health
from core.linux.pidfd import boot_id
from core.linux.rlimit import raise_open_files
from core.log import get_logger
from core.metadata.database import Database
from core.metadata.images import SqliteImages
from core.metadata.mirror import MirroredRecords
from core.metadata.records import RecordStore
from core.metadata.sqlite_records import SqliteRecords
from core.network.attachments import AttachmentFiles
from core.network.builtin.bridge import BridgeConfig, open_bridge
from core.network.choice import ChosenNetwork
from core.network.cni import open_cni
from core.network.network import Network
from core.network.podcidr import PodRanges
from core.nri.service import NriService
from core.sandbox.choice import ChosenController
from core.sandbox.controller import SandboxController
from core.sandbox.pause import PauseController
from core.sandbox.pinned import PinnedController
from core.sandbox.roots import Roots
from core.shims.bundle import Runtime
from core.shims.manager import ShimManager
from core.snapshots.native import NativeSnapshotter
from core.snapshots.overlay import OverlaySnapshotter
from core.snapshots.snapshotter import Snapshotter
from core.snapshots.snapshotters import NATIVE, OVERLAYFS, Snapshotters
from core.tasks.service import ShimTasks
from core.tasks.tasks import Tasks
from core.telemetry import SILENT, Telemetry
from core.wiring.config import CoreConfig
from core.wiring.images import Images, find_or_pull, open_images
from core.wiring.node import rebooted
from core.zygote.process import ZygoteProcess
from core.zygote.watch import ZygoteWatch
from core.zygote.zygote import Zygote

log = get_logger(__name__)

OPEN_FILES = 65536
"""Wanted of this process: the statistics of 250 pods with three containers keep 8,000 open, and clients some each."""
FILESYSTEM_THREADS = 4
"""Enough to keep two disks busy; more only fight for the GIL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """Everything below CRI, open."""

    images: Images
    snapshotters: Snapshotters
    zygote: Zygote
    records: RecordStore
    shims: ShimManager
    tasks: Tasks
    controllers: Mapping[str, SandboxController]
    network: Network
    ranges: PodRanges
    """Of the network's addresses."""
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
        ranges = PodRanges(os.path.join(config.root, "pod-ranges"))
        network = await _open_network(config, stack, filesystem, group, ranges=ranges, telemetry=telemetry)
        snapshotters = _open_snapshotters(config)
        records = MirroredRecords(SqliteRecords(database), os.path.join(config.state, "records"))
        images = await open_images(
            config,
            stack,
            store=SqliteImages(database),
            records=records,
            snapshotters=snapshotters,
            zygote=zygote,
            metadata=metadata,
            filesystem=filesystem,
            telemetry=telemetry,
        )
        roots = Roots(config.state, snapshotters)
        controllers = _controllers(
            config, shims=shims, tasks=tasks, images=images, roots=roots, executor=filesystem
        )
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
            snapshotters=snapshotters,
            zygote=zygote,
            records=records,
            shims=shims,
            tasks=tasks,
            controllers=controllers,
            network=network,
            ranges=ranges,
            nri=NriService(config.nri, group),
            metadata=metadata,
            filesystem=filesystem,
            rebooted=rebooted(config.root),
            problems=health.problems,
        )


def _open_snapshotters(config: CoreConfig) -> Snapshotters:
    """All that a handler names, and those that one named once: what is in there must go when its image goes."""
    named = {runtime.snapshotter for runtime in config.handlers.values()}
    snapshotters: dict[str, Snapshotter] = {
        OVERLAYFS: OverlaySnapshotter(os.path.join(config.root, "snapshots"), boot_id=boot_id())
    }
    native = os.path.join(config.root, "snapshots-native")
    if NATIVE in named or os.path.isdir(native):
        snapshotters[NATIVE] = NativeSnapshotter(native, boot_id=boot_id())
    return Snapshotters(snapshotters)


def _controllers(
    config: CoreConfig, *, shims: ShimManager, tasks: Tasks, images: Images, roots: Roots, executor: Executor
) -> Mapping[str, SandboxController]:
    """By runtime handler. One for all: it knows of each pod which of the two it is."""
    pause = PauseController(
        manager=shims,
        tasks=tasks,
        runtimes=config.handlers,
        roots=roots,
        find_image=partial(find_or_pull, images),
        executor=executor,
    )
    chosen = ChosenController(PinnedController(shims, config.handlers), pause, config.handlers)
    return dict.fromkeys(config.handlers, chosen)


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
    *,
    ranges: PodRanges,
    telemetry: Telemetry,
) -> Network:
    attachments = AttachmentFiles(os.path.join(config.root, "cni"))
    opened = open_cni(config.cni, attachments, executor, group, ranges=ranges, telemetry=telemetry)
    cni = await stack.enter_async_context(opened)
    if not config.builtin:
        return cni
    bridge = BridgeConfig(root=os.path.join(config.root, "leases"), bridge=config.bridge, subnets=(config.subnet,))
    return ChosenNetwork(cni, await stack.enter_async_context(open_bridge(bridge, executor, group)))


