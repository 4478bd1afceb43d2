"""crispd from configuration to socket: open, recover, serve, end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import grpc

from core.errdefs import CrispError, FailedPrecondition
from core.linux.proc import pss
from core.log import get_logger
from core.oci import apparmor
from core.tasks.tasks import TaskExit
from core.telemetry import SILENT, Telemetry
from core.wiring.wiring import Core, open_core
from cri import api, compose, watchdog
from cri.calls import Calls
from cri.config.config import Config
from cri.container.plugins import PluginRuntime
from cri.doctor import Doctor
from cri.features import find_features
from cri.image_service import ImageService
from cri.notify import notify
from cri.reload import reload
from cri.runtime_service import RuntimeService
from cri.sandbox.recover import pod_died, recover, root_ended
from cri.sandbox.sweep import Leftovers, collect_regularly, find_leftovers, sweep
from cri.server import make_server
from cri.store.operations import Operations
from cri.streaming.server import StreamingServer
from cri.telemetry.open import Gauges, Present, exposed, make_exporter, make_telemetry
from cri.telemetry.queues import waiting

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
    async with open_core(compose.core_config(config), telemetry) as core, asyncio.TaskGroup() as group:
        daemon = Daemon(config, core, group, telemetry)
        on_hangup(config, read)
        await daemon.start()
        spare_the_collector()
        async with exposed(address, telemetry, daemon.present()):
            await wait_signal()
        log.info("stopping")
        notify("STOPPING=1")
        await daemon.stop()


def spare_the_collector() -> None:
    """What there is now stays: walking it costs the garbage collector 20 ms each time that it looks at everything, and
    under load a sixth of all processor time."""
    gc.collect()
    gc.freeze()


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
        self._exporter = make_exporter(config.tracing.endpoint, config.tracing.sample)
        self._calls = Calls(self._pod_of, self._exporter.ended if self._exporter else None)
        self._telemetry = telemetry
        self._core = core
        self._group = group
        self._operations = Operations(group)
        self._containers = compose.container_deps(config, core, self._operations, group)
        self._sandboxes = compose.sandbox_deps(config, core, self._containers)
        self._events = compose.events(self._containers, self._sandboxes)
        self._features = {name: api.RuntimeHandlerFeatures() for name in core.controllers}
        self._streaming = StreamingServer(
            compose.streaming_deps(config, self._containers, self._sandboxes), compose.streaming_listen(config)
        )
        self._stats = compose.stats_deps(config, core, self._containers)
        self._server: grpc.aio.Server | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Adopt the pods of an earlier daemon and serve; CRI answers when this returns.

        What takes its time goes on in the background: shims that do not answer, and the undoing of what a crash left.
        """
        await self._containers.containers.load()
        await self._sandboxes.sandboxes.load()
        self._core.tasks.subscribe(self._containers.exits.on_exit)
        self._core.tasks.subscribe(self._on_task_exit)
        self._core.shims.subscribe(self._on_shim_death)
        leftovers = await find_leftovers(self._sandboxes, self._containers)
        recovering = self._spawn(recover(self._sandboxes, self._containers, rebooted=self._core.rebooted))
        profiled = self._spawn(apparmor.load_default())
        await asyncio.wait([recovering], timeout=RECOVERY)
        await profiled  # or the first containers of a booting node would not be confined
        self._containers.nri.serve(self._core.nri.nri)
        await self._core.nri.start(PluginRuntime(self._containers))
        await self._streaming.start()
        runtime = RuntimeService(
            sandboxes=self._sandboxes,
            containers=self._containers,
            node=compose.node(self._config, self._core, self._features),
            events=self._events,
            streaming=self._streaming,
            stats=self._stats,
            calls=self._calls,
        )
        images = ImageService(compose.image_deps(self._config, self._core, self._stats))
        services = [(api.RUNTIME_SERVICE, runtime), (api.IMAGE_SERVICE, images), *self._core.images.services]
        services.append((api.DOCTOR, self._doctor()))
        self._server = make_server(
            self._config.grpc.address, services, telemetry=self._telemetry, calls=self._calls
        )
        await self._server.start()
        log.info("serving", address=self._config.grpc.address)
        notify("READY=1")
        self._spawn(self._clean_up(leftovers))
        self._spawn(collect_regularly(self._core.network))
        self._spawn(self._find_features())
        if self._exporter:
            self._spawn(self._exporter.run())
        if within := watchdog.interval(os.environ):
            self._spawn(watchdog.keep_alive(self._config.grpc.address, within))

    async def stop(self) -> None:
        """Let calls and operations under way finish, then close. Containers run on."""
        for task in self._background:
            task.cancel()
        self._events.close()
        self._core.images.closing.set()
        if self._server:
            await self._server.stop(GRACE)
        await self._streaming.stop()
        await asyncio.wait_for(self._operations.wait_idle(), GRACE)
        await self._core.nri.stop()
        self._stats.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do `work` in the background until the daemon stops. An error is reported, and ends nothing else."""
        task = self._group.create_task(_reported(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _clean_up(self, leftovers: Leftovers) -> None:
        await sweep(self._sandboxes, self._containers, leftovers)
        await self._core.images.collector.collect()

    async def _find_features(self) -> None:
        handlers = compose.core_config(self._config).handlers
        try:
            node = await self._core.zygote.run("users", {"directory": self._config.root}, deadline=PROBE)
            if node["reason"]:
                log.warning("no user namespaces for pods", reason=node["reason"])
        except CrispError as exc:
            log.warning("user namespaces not tried", error=exc)
            node = {"reason": "not tried"}
        directory = os.path.join(self._config.state, "features")
        await find_features(handlers, directory, self._features, users=not node["reason"])

    def _doctor(self) -> Doctor:
        return Doctor(
            sandboxes=self._sandboxes,
            containers=self._containers,
            calls=self._calls,
            problems=self._core.problems,
            served=self._core.shims.serves,
            root=self._config.root,
        )

    def _pod_of(self, container_id: str) -> str:
        container = self._containers.containers.find(container_id)
        return container.sandbox_id if container else ""

    def present(self) -> Present:
        """What there is now, for whoever watches the node."""
        core = self._core
        return Present(gauges=self._gauges(), logged=self._logged, queues=self._queues, problems=core.problems)

    def _logged(self) -> dict[str, int]:
        counts = self._core.shims.logged()
        return {"bytes": counts.bytes, "lines": counts.lines, "split": counts.split, "dropped_bytes": counts.dropped}

    def _queues(self) -> dict[str, int]:
        return {
            "calls": self._calls.running,
            "operations": self._operations.running,
            "metadata": waiting(self._core.metadata),
            "filesystem": waiting(self._core.filesystem),
            "events": self._events.pending,
        }

    def _gauges(self) -> Gauges:
        containers, core = self._containers, self._core
        return {
            "crisp_pods_ready": ("Ready pods.", lambda: sum(not pod.stopped for pod in containers.sandboxes.list())),
            "crisp_containers_running": (
                "Running containers.",
                lambda: sum(container.running for container in containers.containers.list()),
            ),
            "crisp_containers": ("Containers in all states.", lambda: len(containers.containers.list())),
            "crisp_images": ("Images.", lambda: len(core.images.store.list())),
            "crisp_shims": ("Shims that run.", lambda: core.shims.running),
            "crisp_shims_memory_bytes": ("Memory of shims, shared in part.", lambda: pss(core.shims.pids())),
            "crisp_network_ready": ("Whether pods get a network.", lambda: core.network.status().ready),
        }

    def _on_task_exit(self, exit_: TaskExit) -> None:
        if self._sandboxes.sandboxes.find(exit_.container_id) is not None:  # a pod's root container has the pod's id
            self._spawn(root_ended(self._sandboxes, exit_.container_id))

    def _on_shim_death(self, sandbox_id: str) -> None:
        self._spawn(pod_died(self._sandboxes, self._containers, sandbox_id))


async def _reported(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("background work failed", work=work)
