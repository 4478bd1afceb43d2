"""crispd from configuration to socket: compose, recover, serve, end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import msgspec

from core.errdefs import CrispError, FailedPrecondition
from core.files.meter import Meter
from core.images.verification import Policy
from core.log import get_logger
from core.network.cni import CniConfig
from core.oci import apparmor
from core.shims.bundle import Runtime as OciRuntime
from core.telemetry import SILENT, Telemetry
from core.wiring import Core, CoreConfig, open_core
from cri import api, watchdog
from cri.config import Config, Runtime
from cri.container.bundles import Bundles
from cri.container.deps import ContainerDeps
from cri.container.exits import Exits
from cri.container.remove import remove_containers
from cri.container.spec.source import Facts
from cri.container.stop import end_containers
from cri.container.stopping import Stopping
from cri.container.streams import CriStreams
from cri.container.volumes import Volumes
from cri.events.events import Events
from cri.events.feed import Feed
from cri.features import find_features
from cri.image.deps import ImageDeps
from cri.image_service import ImageService
from cri.node import Node
from cri.notify import notify
from cri.reload import reload
from cri.runtime_service import RuntimeService
from cri.sandbox.deps import SandboxDeps
from cri.sandbox.files import PodFiles
from cri.sandbox.port_forward import dial
from cri.sandbox.recover import pod_died, recover
from cri.sandbox.sweep import Leftovers, find_leftovers, sweep
from cri.server import make_server
from cri.stats.collector import Collector
from cri.stats.deps import StatsDeps
from cri.stats.layers import Layers
from cri.stats.metrics.collector import MetricsCollector
from cri.stats.tracking import Tracking
from cri.store import container as container_store
from cri.store import sandbox as sandbox_store
from cri.store.container import Container
from cri.store.locks import Locks
from cri.store.operations import Operations
from cri.store.sandbox import PodSandbox
from cri.store.store import Store
from cri.streaming.deps import StreamingDeps
from cri.streaming.server import Listen, StreamingServer
from cri.streaming.tls import TlsFiles
from cri.telemetry.open import Gauges, exposed, make_telemetry

log = get_logger(__name__)

PROBE = 20.0
"""Seconds for the node to show that it has user namespaces; it takes 10 ms."""
GRACE = 10.0
"""Seconds that calls under way get at the end: more than any step that must not be cut off needs."""
RECOVERY = 0.5
"""Seconds that serving waits for pods to be adopted, so that the first list is right about those whose shim answers."""


def run(config: Config, read: Callable[[], Config]) -> None:
    """Serve until SIGTERM or SIGINT; on SIGHUP `read` the configuration again.

    Raises FailedPrecondition when another crispd has the state directory.
    """
    os.umask(0o022)
    os.makedirs(config.state, mode=0o711, exist_ok=True)
    with only_one(os.path.join(config.state, "crispd.lock")):
        asyncio.run(_serve(config, read))


@contextlib.contextmanager
def only_one(path: str) -> Iterator[None]:
    """Hold the lock file at `path`. Raises FailedPrecondition when another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise FailedPrecondition(f"another crispd holds {path}: give this one its own root and state") from exc
    finally:
        os.close(descriptor)


async def _serve(config: Config, read: Callable[[], Config]) -> None:
    address = config.metrics.address
    telemetry = make_telemetry(address)
    async with open_core(core_config(config), telemetry) as core, asyncio.TaskGroup() as group:
        daemon = Daemon(config, core, group, telemetry)
        on_hangup(config, read)
        await daemon.start()
        async with exposed(address, telemetry, daemon.gauges(), core.problems):
            await wait_signal()
        log.info("stopping")
        notify("STOPPING=1")
        await daemon.stop()


def core_config(config: Config) -> CoreConfig:
    """What the core needs of the configuration."""
    handlers = {
        name: OciRuntime(
            binary=runtime.binary,
            root=os.path.join(config.state, "runtime", name),
            systemd_cgroup=runtime.systemd_cgroup,
        )
        for name, runtime in all_handlers(config).items()
    }
    return CoreConfig(
        root=config.root,
        state=config.state,
        handlers=handlers,
        registry_config=config.registry.config_path,
        registry_auth=config.registry.auth_file,
        cni=CniConfig(conf_dir=config.cni.conf_dir, bin_dirs=tuple(config.cni.bin_dirs)),
        builtin=config.cni.builtin,
        bridge=config.cni.bridge,
        subnet=config.cni.subnet,
        layers_at_once=config.images.max_concurrent_downloads,
        pinned=tuple(config.images.pinned),
        image_policy=Policy(repositories=config.images.policy, bin_dir=config.images.verifier_dir),
    )


def streaming_listen(config: Config) -> Listen:
    """Where the streaming server listens, and with what certificate."""
    streaming = config.streaming
    tls = TlsFiles(certificate=streaming.tls_cert, key=streaming.tls_key) if streaming.tls_cert else None
    return Listen(address=streaming.address, port=streaming.port, tls=tls)


def all_handlers(config: Config) -> dict[str, Runtime]:
    """All handlers, the default one also as \"\", as the kubelet names it."""
    handlers = config.handlers()
    return {"": handlers[config.default_handler()], **handlers}


def on_hangup(config: Config, read: Callable[[], Config]) -> None:
    """Reload at each SIGHUP from now on, and tell systemd (Type=notify-reload)."""

    def hang_up() -> None:
        nonlocal config
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        config = reload(config, read)
        notify("READY=1")

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)


async def wait_signal() -> None:
    """Return on SIGTERM or SIGINT."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    await asked.wait()


class Daemon:
    """The CRI side of crispd on top of an open core."""

    def __init__(self, config: Config, core: Core, group: asyncio.TaskGroup, telemetry: Telemetry = SILENT) -> None:
        self._config = config
        self._telemetry = telemetry
        self._core = core
        self._group = group
        self._operations = Operations(group)
        self._containers = self._container_deps()
        self._sandboxes = self._sandbox_deps()
        self._events = Events(self._sandboxes.sandboxes, self._containers.containers, time.time_ns, Feed())
        self._features = {name: api.RuntimeHandlerFeatures() for name in core.controllers}
        self._streaming = StreamingServer(self._streaming_deps(), streaming_listen(config))
        self._stats = self._stats_deps()
        self._server: grpc.aio.Server | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Adopt the pods of an earlier daemon and serve; CRI answers when this returns.

        What takes its time goes on in the background: shims that do not answer, and the undoing of what a crash left.
        """
        await self._containers.containers.load()
        await self._sandboxes.sandboxes.load()
        self._core.tasks.subscribe(self._containers.exits.on_exit)
        self._core.shims.subscribe(self._on_shim_death)
        leftovers = await find_leftovers(self._sandboxes, self._containers)
        recovering = self._spawn(recover(self._sandboxes, self._containers, rebooted=self._core.rebooted))
        profiled = self._spawn(apparmor.load_default())
        await asyncio.wait([recovering], timeout=RECOVERY)
        await profiled  # or the first containers of a booting node would not be confined
        await self._streaming.start()
        runtime = RuntimeService(
            sandboxes=self._sandboxes,
            containers=self._containers,
            node=self._node(),
            events=self._events,
            streaming=self._streaming,
            stats=self._stats,
        )
        services = [(api.RUNTIME_SERVICE, runtime), (api.IMAGE_SERVICE, ImageService(self._image_deps()))]
        self._server = make_server(self._config.grpc.address, services, telemetry=self._telemetry)
        await self._server.start()
        log.info("serving", address=self._config.grpc.address)
        notify("READY=1")
        self._spawn(self._clean_up(leftovers))
        self._spawn(self._find_features())
        if within := watchdog.interval(os.environ):
            self._spawn(watchdog.keep_alive(self._config.grpc.address, within))

    async def stop(self) -> None:
        """Let calls and operations under way finish, then close. Containers run on."""
        for task in self._background:
            task.cancel()
        self._events.close()
        if self._server:
            await self._server.stop(GRACE)
        await self._streaming.stop()
        await asyncio.wait_for(self._operations.wait_idle(), GRACE)
        self._stats.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do `work` in the background until the daemon stops. An error is reported, and ends nothing else."""
        task = self._group.create_task(_reported(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _clean_up(self, leftovers: Leftovers) -> None:
        await sweep(self._sandboxes, self._containers, leftovers)
        await self._core.collector.collect()

    async def _find_features(self) -> None:
        handlers = core_config(self._config).handlers
        try:
            node = await self._core.zygote.run("users", {"directory": self._config.root}, deadline=PROBE)
            if node["reason"]:
                log.warning("no user namespaces for pods", reason=node["reason"])
        except CrispError as exc:
            log.warning("user namespaces not tried", error=exc)
            node = {"reason": "not tried"}
        directory = os.path.join(self._config.state, "features")
        await find_features(handlers, directory, self._features, users=not node["reason"])

    def gauges(self) -> Gauges:
        """What there is now, for whoever watches the node."""
        containers, core = self._containers, self._core
        return {
            "crisp_pods_ready": ("Ready pods.", lambda: sum(not pod.stopped for pod in containers.sandboxes.list())),
            "crisp_containers_running": (
                "Running containers.",
                lambda: sum(container.running for container in containers.containers.list()),
            ),
            "crisp_containers": ("Containers in all states.", lambda: len(containers.containers.list())),
            "crisp_images": ("Images.", lambda: len(core.images.list())),
            "crisp_shims": ("Shims that run.", lambda: core.shims.running),
            "crisp_network_ready": ("Whether pods get a network.", lambda: core.network.status().ready),
        }

    def _on_shim_death(self, sandbox_id: str) -> None:
        self._spawn(pod_died(self._sandboxes, self._containers, sandbox_id))

    def _container_deps(self) -> ContainerDeps:
        core = self._core
        containers = Store("container", Container, container_store.list_item, core.records, core.metadata)
        return ContainerDeps(
            containers=containers,
            sandboxes=Store("sandbox", PodSandbox, sandbox_store.list_item, core.records, core.metadata),
            images=core.images,
            verifier=core.verifier,
            tasks=core.tasks,
            bundles=Bundles(
                os.path.join(self._config.state, "containers"),
                core.snapshotter,
                "overlay",
                Volumes(os.path.join(self._config.root, "volumes")),
            ),
            exits=Exits(containers, self._group),
            stopping=Stopping(),
            operations=self._operations,
            locks=Locks(),
            zygote=core.zygote,
            handlers=all_handlers(self._config),
            facts=Facts.read(),
            cdi_dirs=tuple(self._config.cdi.spec_dirs),
            etc=os.path.join(self._config.state, "etc"),
            filesystem=core.filesystem,
            new_id=new_id,
            clock=time.time_ns,
        )

    def _sandbox_deps(self) -> SandboxDeps:
        core, containers = self._core, self._containers
        return SandboxDeps(
            sandboxes=containers.sandboxes,
            controllers=core.controllers,
            network=core.network,
            files=PodFiles(os.path.join(self._config.state, "etc")),
            operations=self._operations,
            locks=Locks(),
            filesystem=core.filesystem,
            end_containers=lambda sandbox_id: end_containers(containers, sandbox_id),
            remove_containers=lambda sandbox_id: remove_containers(containers, sandbox_id),
            new_id=new_id,
            clock=time.time_ns,
        )

    def _stats_deps(self) -> StatsDeps:
        handlers = self._containers.handlers
        tracking = Tracking(
            self._containers.facts.layout, lambda handler: handler in handlers and handlers[handler].systemd_cgroup
        )
        layers = Layers(Meter(time.time_ns), self._core.snapshotter.upper, self._config.root)
        return StatsDeps(
            containers=self._containers.containers,
            sandboxes=self._sandboxes.sandboxes,
            tracking=tracking,
            layers=layers,
            collector=Collector(tracking, layers, time.time_ns),
            metrics=MetricsCollector(tracking, layers, time.time_ns),
            executor=ThreadPoolExecutor(1, "stats"),
        )

    def _image_deps(self) -> ImageDeps:
        core, containers = self._core, self._containers.containers
        return ImageDeps(
            images=core.images,
            puller=core.puller,
            remover=core.remover,
            filesystem=core.filesystem,
            image_root=self._config.root,
            space_of_images=core.space_of_images,
            space_of_containers=lambda: self._stats.layers.total(containers.list()),
            clock=time.time_ns,
        )

    def _streaming_deps(self) -> StreamingDeps:
        return StreamingDeps(
            containers=CriStreams(self._containers),
            dial=partial(dial, self._sandboxes),
            idle_timeout=self._config.streaming.idle_timeout,
        )

    def _node(self) -> Node:
        return Node(
            network=self._core.network,
            problems=self._core.problems,
            handlers=self._features,
            systemd_cgroup=all_handlers(self._config)[""].systemd_cgroup,
            conf_dir=self._config.cni.conf_dir,
            conf_template=self._config.cni.conf_template,
            filesystem=self._core.filesystem,
            info={"config": msgspec.to_builtins(self._config), "root": self._config.root, "state": self._config.state},
        )


async def _reported(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("background work failed", work=work)


def new_id() -> str:
    """64 hex digits, as both peers name sandboxes and containers."""
    return secrets.token_hex(32)
