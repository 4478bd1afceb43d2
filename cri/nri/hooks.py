"""When plugins are told and asked, from the verbs of CRI. While there is no plugin each call returns at once.

That a container has ended is taken from the store, so nobody who records an exit can forget to tell it. A pod or
container whose creation plugins have agreed to is kept here until it has a record: a plugin that comes in between
learns of it from Synchronize.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor

import msgspec

from core.api import nri_pb2, nri_types_pb2
from core.api.nri_types_pb2 import ContainerAdjustment, LinuxResources
from core.errdefs import CrispError, NotFound
from core.log import get_logger
from core.nri.nri import Nri
from cri import api
from cri.nri.container import container_message
from cri.nri.limits import from_cri
from cri.nri.pod import pod_message
from cri.store.container import Container
from cri.store.sandbox import PodSandbox
from cri.store.store import Store

log = get_logger(__name__)


class Hooks:
    """`spec` reads the config.json of a container, `executor` does it for many; `group` runs what follows an exit."""

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
        self._nri: Nri | None = None
        self._new_pods: dict[str, PodSandbox] = {}
        self._new_containers: dict[str, Container] = {}
        self._stops: dict[str, asyncio.Task[None]] = {}
        self._stopped: set[str] = set()
        sandboxes.subscribe(self._on_pod)
        containers.subscribe(self._on_container)

    def serve(self, nri: Nri) -> None:
        """Ask these plugins from now on."""
        self._stopped = {pod.id for pod in self._sandboxes.list() if pod.stopped}
        self._nri = nri

    @property
    def idle(self) -> bool:
        """Whether there is no plugin."""
        return self._nri is None or self._nri.idle

    async def state(self) -> tuple[Sequence[nri_types_pb2.PodSandbox], Sequence[nri_types_pb2.Container]]:
        """As core.nri.nri.Runtime.state."""
        pods = [pod_message(pod) for pod in (*self._sandboxes.list(), *self._new_pods.values())]
        known = (*self._containers.list(), *self._new_containers.values())
        living = [one for one in known if not one.finished_at and not one.lost]
        loop = asyncio.get_running_loop()
        return pods, await loop.run_in_executor(self._executor, lambda: [self._message(one) for one in living])

    async def run_pod(self, pod: PodSandbox) -> None:
        """It runs, and will have its record. Raises what a plugin says against it."""
        if self._nri and not self._nri.idle:
            await self._nri.notify(nri_pb2.RUN_POD_SANDBOX, pod_message(pod))
            self._new_pods[pod.id] = pod

    async def forget_pod(self, pod: PodSandbox) -> None:
        """It was not to be."""
        self._new_pods.pop(pod.id, None)
        await self.stop_pod(pod)
        await self.remove_pod(pod)

    async def update_pod(self, pod: PodSandbox, asked: api.UpdatePodSandboxResourcesRequest) -> None:
        """Raises what a plugin says against it."""
        if self._nri and not self._nri.idle:
            await self._nri.update_pod(pod_message(pod), from_cri(asked.overhead), from_cri(asked.resources))

    async def updated_pod(self, pod: PodSandbox) -> None:
        await self._tell(nri_pb2.POST_UPDATE_POD_SANDBOX, pod)

    async def stop_pod(self, pod: PodSandbox) -> None:
        """Its containers have ended, and its network is still there. Told once."""
        if pod.id in self._stopped:
            return
        self._stopped.add(pod.id)
        ends = [task for id_, task in self._stops.items() if self._pod_of(id_) == pod.id]
        if ends:
            await asyncio.wait(ends)
        await self._tell(nri_pb2.STOP_POD_SANDBOX, pod)

    async def remove_pod(self, pod: PodSandbox) -> None:
        await self._tell(nri_pb2.REMOVE_POD_SANDBOX, pod)
        self._stopped.discard(pod.id)

    async def create(self, container: Container) -> ContainerAdjustment:
        """How plugins want it, which has its bundle and will have its record. Raises what a plugin says against it."""
        assert self._nri
        message = self._message(container)
        message.state = nri_types_pb2.CONTAINER_UNKNOWN
        adjustment = await self._nri.create(self._pod(container), message)
        self._new_containers[container.id] = container
        return adjustment

    async def forget(self, container: Container) -> None:
        """It was not to be."""
        self._new_containers.pop(container.id, None)
        await self.remove(container)

    async def created(self, container: Container) -> None:
        await self._tell_of(nri_pb2.POST_CREATE_CONTAINER, container)

    async def start(self, container: Container) -> None:
        """Its process waits for the start. Raises what a plugin says against it."""
        if self._nri and not self._nri.idle:
            await self._nri.notify(nri_pb2.START_CONTAINER, self._pod(container), self._message(container))

    async def started(self, container: Container) -> None:
        await self._tell_of(nri_pb2.POST_START_CONTAINER, container)

    async def update(self, container: Container, asked: api.LinuxContainerResources) -> LinuxResources:
        """`asked` as plugins want it. Raises what a plugin says against it. Not for callers that hold a container."""
        if self._nri is None or self._nri.idle:
            return from_cri(asked)
        return await self._nri.update(self._pod(container), self._message(container), from_cri(asked))

    async def updated(self, container: Container) -> None:
        await self._tell_of(nri_pb2.POST_UPDATE_CONTAINER, container)

    async def remove(self, container: Container) -> None:
        """It does not run, and has its bundle. Its end is told first."""
        stop = self._stops.pop(container.id, None)
        if stop is not None:
            await asyncio.wait([stop])
        elif not container.finished_at:  # it never ran
            await self._stop(container)
        await self._tell_of(nri_pb2.REMOVE_CONTAINER, container)

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
        if self._nri and not self._nri.idle:
            await _reported(self._nri.stop(self._pod(container), self._message(container)), container.id)

    async def _tell(self, event: nri_pb2.Event, pod: PodSandbox) -> None:
        if self._nri and not self._nri.idle:
            await _reported(self._nri.notify(event, pod_message(pod)), pod.id)

    async def _tell_of(self, event: nri_pb2.Event, container: Container) -> None:
        if self._nri and not self._nri.idle:
            told = self._nri.notify(event, self._pod(container), self._message(container))
            await _reported(told, container.id)

    def _pod(self, container: Container) -> nri_types_pb2.PodSandbox:
        pod = self._sandboxes.find(container.sandbox_id)
        return pod_message(pod) if pod else nri_types_pb2.PodSandbox(id=container.sandbox_id)

    def _pod_of(self, container_id: str) -> str:
        container = self._containers.find(container_id)
        return container.sandbox_id if container else ""

    def _message(self, container: Container) -> nri_types_pb2.Container:
        try:
            spec = msgspec.json.decode(self._spec(container.id))
        except NotFound:
            spec = {}
        return container_message(container, spec)


async def _reported(telling: Awaitable[None], id_: str) -> None:
    """What is over cannot be refused."""
    try:
        await telling
    except CrispError as exc:
        log.warning("NRI plugin failed", id=id_, error=exc)
