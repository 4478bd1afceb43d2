"""When plugins are told and asked, from the verbs of CRI. While there is no plugin each call returns at once.

That a container has ended is taken from the store, so nobody who records an exit can forget to tell it. A pod or
container whose creation plugins have agreed to is kept here until it has a record: a plugin that comes in between
learns of it from Synchronize.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from typing import TYPE_CHECKING, Any

from core.errdefs import CrispError
from core.log import get_logger
from core.nri.nri import Nri
from cri import api
from cri.store.container import Container
from cri.store.sandbox import PodSandbox
from cri.store.store import Store

if TYPE_CHECKING:
    from core.api.nri_types_pb2 import Container as ContainerMessage
    from core.api.nri_types_pb2 import ContainerAdjustment, LinuxResources
    from core.api.nri_types_pb2 import PodSandbox as PodMessage
    from cri.nri.messages import Messages

log = get_logger(__name__)

Limits = tuple[api.LinuxContainerResources, Mapping[str, Any]]
"""What CRI has of them, and the rest as OCI has it."""


class Hooks:
    """`spec` reads the config.json of a container, `executor` does it for many; `group` runs what follows an exit.

    Messages take 0.8 MiB: they are loaded when there is a plugin to tell.
    """

    def __init__(
        self,
        sandboxes: Store[PodSandbox],
        containers: Store[Container],
        *,
        spec: Callable[[str], bytes],
        executor: Executor,
        group: asyncio.TaskGroup,
    ) -> None:
        self._sandboxes = sandboxes
        self._containers = containers
        self._spec = spec
        self._executor = executor
        self._group = group
        self._plugins: Callable[[], Nri | None] = lambda: None
        self._new_pods: dict[str, PodSandbox] = {}
        self._new_containers: dict[str, Container] = {}
        self._stops: dict[str, asyncio.Task[None]] = {}
        self._stopped: set[str] = set()
        sandboxes.subscribe(self._on_pod)
        containers.subscribe(self._on_container)

    def serve(self, plugins: Callable[[], Nri | None]) -> None:
        """Ask these plugins from now on."""
        self._stopped = {pod.id for pod in self._sandboxes.list() if pod.stopped}
        self._plugins = plugins

    @property
    def idle(self) -> bool:
        """Whether there is no plugin."""
        return self._nri is None

    @property
    def _nri(self) -> Nri | None:
        nri = self._plugins()
        return None if nri is None or nri.idle else nri

    @cached_property
    def _messages(self) -> Messages:
        from cri.nri.messages import Messages  # noqa: PLC0415 - see above

        return Messages(self._sandboxes, self._spec)

    async def state(self) -> tuple[Sequence[PodMessage], Sequence[ContainerMessage]]:
        """As core.nri.nri.Runtime.state."""
        messages = self._messages
        pods = [messages.pod(pod) for pod in (*self._sandboxes.list(), *self._new_pods.values())]
        known = (*self._containers.list(), *self._new_containers.values())
        living = [one for one in known if not one.finished_at and not one.lost]
        loop = asyncio.get_running_loop()
        return pods, await loop.run_in_executor(self._executor, lambda: [messages.container(one) for one in living])

    async def run_pod(self, pod: PodSandbox) -> None:
        """It runs, and will have its record. Raises what a plugin says against it."""
        if nri := self._nri:
            await nri.notify("RunPodSandbox", self._messages.pod(pod))
            self._new_pods[pod.id] = pod

    async def forget_pod(self, pod: PodSandbox) -> None:
        """It was not to be."""
        self._new_pods.pop(pod.id, None)
        await self.stop_pod(pod)
        await self.remove_pod(pod)

    async def update_pod(self, pod: PodSandbox, asked: api.UpdatePodSandboxResourcesRequest) -> None:
        """Raises what a plugin says against it."""
        if nri := self._nri:
            messages = self._messages
            await nri.update_pod(messages.pod(pod), messages.limits(asked.overhead), messages.limits(asked.resources))

    async def updated_pod(self, pod: PodSandbox) -> None:
        await self._tell("PostUpdatePodSandbox", pod)

    async def stop_pod(self, pod: PodSandbox) -> None:
        """Its containers have ended, and its network is still there. Told once."""
        if pod.id in self._stopped:
            return
        self._stopped.add(pod.id)
        ends = [task for id_, task in self._stops.items() if self._pod_of(id_) == pod.id]
        if ends:
            await asyncio.wait(ends)
        await self._tell("StopPodSandbox", pod)

    async def remove_pod(self, pod: PodSandbox) -> None:
        await self._tell("RemovePodSandbox", pod)
        self._stopped.discard(pod.id)

    async def create(self, container: Container) -> ContainerAdjustment | None:
        """How plugins want it, which has its bundle and will have its record; None when there is nobody to ask.

        Raises what a plugin says against it.
        """
        nri = self._nri
        if nri is None:
            return None
        adjustment = await nri.create(self._messages.pod_of(container), self._messages.new_container(container))
        self._new_containers[container.id] = container
        return adjustment

    async def forget(self, container: Container) -> None:
        """It was not to be."""
        self._new_containers.pop(container.id, None)
        await self.remove(container)

    async def created(self, container: Container) -> None:
        await self._tell_of("PostCreateContainer", container)

    async def start(self, container: Container) -> None:
        """Its process waits for the start. Raises what a plugin says against it."""
        if nri := self._nri:
            await nri.notify("StartContainer", *self._both(container))

    async def started(self, container: Container) -> None:
        await self._tell_of("PostStartContainer", container)

    async def update(self, container: Container, asked: api.LinuxContainerResources) -> Limits:
        """`asked` as plugins want it. Raises what a plugin says against it. Not for callers that hold a container."""
        nri = self._nri
        if nri is None:
            return asked, {}
        limits = await nri.update(*self._both(container), self._messages.limits(asked))
        return self._messages.wanted(limits, asked)

    def wanted(self, limits: LinuxResources) -> Limits:
        """What a plugin wants by itself."""
        return self._messages.wanted(limits, api.LinuxContainerResources())

    async def updated(self, container: Container) -> None:
        await self._tell_of("PostUpdateContainer", container)

    async def remove(self, container: Container) -> None:
        """It does not run, and has its bundle. Its end is told first."""
        stop = self._stops.pop(container.id, None)
        if stop is not None:
            await asyncio.wait([stop])
        elif not container.finished_at:  # it never ran
            await self._stop(container)
        await self._tell_of("RemoveContainer", container)

    def _on_pod(self, _before: PodSandbox | None, after: PodSandbox | None) -> None:
        if after is not None:
            self._new_pods.pop(after.id, None)

    def _on_container(self, before: Container | None, after: Container | None) -> None:
        if after is None:
            return
        self._new_containers.pop(after.id, None)
        ended = after.finished_at and before is not None and not before.finished_at
        if ended and not self.idle:
            self._stops[after.id] = self._group.create_task(self._ended(after))

    async def _ended(self, container: Container) -> None:
        try:
            await self._stop(container)
        except Exception:  # nobody waits for this task: it must not take the daemon along
            log.exception("NRI plugins not told of an exit", container_id=container.id)

    async def _stop(self, container: Container) -> None:
        if nri := self._nri:
            await _reported(nri.stop(*self._both(container)), container.id)

    async def _tell(self, method: str, pod: PodSandbox) -> None:
        if nri := self._nri:
            await _reported(nri.notify(method, self._messages.pod(pod)), pod.id)

    async def _tell_of(self, method: str, container: Container) -> None:
        if nri := self._nri:
            await _reported(nri.notify(method, *self._both(container)), container.id)

    def _both(self, container: Container) -> tuple[PodMessage, ContainerMessage]:
        return self._messages.pod_of(container), self._messages.container(container)

    def _pod_of(self, container_id: str) -> str:
        container = self._containers.find(container_id)
        return container.sandbox_id if container else ""


async def _reported(telling: Awaitable[None], id_: str) -> None:
    """What is over cannot be refused."""
    try:
        await telling
    except CrispError as exc:
        log.warning("NRI plugin failed", id=id_, error=exc)
