"""The CRI side of crispd: recover, serve, end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from core.errdefs import CrispError
from core.log import get_logger
from core.oci import apparmor
from core.tasks.tasks import TaskExit
from core.telemetry import SILENT, Telemetry
from core.wiring.wiring import Core
from cri import api, compose, watchdog
from cri.calls import Calls
from cri.config.config import Config
from cri.container.plugins import PluginRuntime
from cri.doctor import Doctor
from cri.features import find_features
from cri.grpc.server import Server
from cri.image_service import ImageService
from cri.notify import notify
from cri.present import present
from cri.runtime_service import RuntimeService
from cri.sandbox.recover import pod_died, recover, root_ended
from cri.sandbox.sweep import Leftovers, collect_regularly, find_leftovers, sweep
from cri.server import make_server
from cri.store.operations import Operations
from cri.streaming.server import StreamingServer
from cri.telemetry.open import Present, make_exporter

log = get_logger(__name__)

PROBE = 20.0
"""Seconds for the node to show that it has user namespaces; it takes 10 ms."""
GRACE = 10.0
"""Seconds that calls under way get at the end: more than any step that must not be cut off needs."""
RECOVERY = 0.5
"""Seconds that serving waits for pods to be adopted, so that the first list is right about those whose shim answers."""


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
        self._server: Server | None = None
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
        self._server = make_server(services, telemetry=self._telemetry, calls=self._calls)
        await self._server.start(self._config.grpc.address)
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
        return present(self._core, self._containers, self._calls, self._events)

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
