"""All plugins, in their order, and one answer of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from google.protobuf.message import Message

from core.api import nri_pb2 as api
from core.api import nri_types_pb2 as types
from core.errdefs import CrispError, FailedPrecondition, Unavailable
from core.log import get_logger
from core.nri.adjustments import Adjustments
from core.nri.nri import Runtime
from core.nri.owners import Owners
from core.nri.plugin import Plugin
from core.nri.updates import Updates

log = get_logger(__name__)

_EVENTS: dict[str, tuple[api.Event, type[Message]]] = {
    "RunPodSandbox": (api.RUN_POD_SANDBOX, api.RunPodSandboxRequest),
    "PostUpdatePodSandbox": (api.POST_UPDATE_POD_SANDBOX, api.PostUpdatePodSandboxRequest),
    "StopPodSandbox": (api.STOP_POD_SANDBOX, api.StopPodSandboxRequest),
    "RemovePodSandbox": (api.REMOVE_POD_SANDBOX, api.RemovePodSandboxRequest),
    "PostCreateContainer": (api.POST_CREATE_CONTAINER, api.PostCreateContainerRequest),
    "StartContainer": (api.START_CONTAINER, api.StartContainerRequest),
    "PostStartContainer": (api.POST_START_CONTAINER, api.PostStartContainerRequest),
    "PostUpdateContainer": (api.POST_UPDATE_CONTAINER, api.PostUpdateContainerRequest),
    "RemoveContainer": (api.REMOVE_CONTAINER, api.RemoveContainerRequest),
}


class Plugins:
    """Implements core.nri.nri.Nri for the plugins that are in it. `group` runs what nobody waits for."""

    def __init__(self, runtime: Runtime, group: asyncio.TaskGroup) -> None:
        self._plugins: list[Plugin] = []
        self._runtime = runtime
        self._group = group

    @property
    def idle(self) -> bool:
        return not self._plugins

    def add(self, plugin: Plugin) -> None:
        """From now on it is asked, as soon as whoever adds it lets go of its turn. Idempotent."""
        if plugin not in self._plugins:
            self._plugins = sorted([*self._plugins, plugin], key=lambda one: one.index)

    def remove(self, plugin: Plugin) -> None:
        """Success when it is not among them."""
        self._plugins = [one for one in self._plugins if one is not plugin]

    async def notify(self, method: str, pod: types.PodSandbox, container: types.Container | None = None) -> None:
        event, shape = _EVENTS[method]
        request = shape(pod=pod, container=container) if container is not None else shape(pod=pod)
        for plugin in self._each():
            await plugin.tell(event, method, request, pod, container)

    async def update_pod(
        self, pod: types.PodSandbox, overhead: types.LinuxResources, resources: types.LinuxResources
    ) -> None:
        request = api.UpdatePodSandboxRequest(pod=pod, overhead_linux_resources=overhead, linux_resources=resources)
        for plugin in self._each():
            await plugin.ask(api.UPDATE_POD_SANDBOX, "UpdatePodSandbox", request, api.Empty)

    async def create(self, pod: types.PodSandbox, container: types.Container) -> types.ContainerAdjustment:
        untouched = types.Container()
        untouched.CopyFrom(container)
        owners, evicted, asked = Owners(), [], []
        adjustments, updates = Adjustments(container, owners), Updates(owners, new_id=container.id)
        for plugin in self._each():
            request = api.CreateContainerRequest(pod=pod, container=container)
            asked.append(api.PluginInstance(name=plugin.base, index=plugin.index))
            reply = await plugin.ask(api.CREATE_CONTAINER, "CreateContainer", request, api.CreateContainerResponse)
            if reply is not None:
                adjustments.add(reply.adjust, plugin.name)
                updates.add(reply.update, plugin.name)
                evicted += [one.container_id for one in reply.evict]
        validation = api.ValidateContainerAdjustmentRequest(
            pod=pod,
            container=untouched,
            adjust=adjustments.merged,
            update=updates.all(),
            owners=owners.message(),
            plugins=asked,
        )
        await self._validate(validation)
        await self.carry_out(updates.all(), evicted)
        return adjustments.merged

    async def update(
        self, pod: types.PodSandbox, container: types.Container, resources: types.LinuxResources
    ) -> types.LinuxResources:
        updates, evicted = Updates(Owners()), []
        updates.start_with(container.id, resources)
        for plugin in self._each():
            request = api.UpdateContainerRequest(
                pod=pod, container=container, linux_resources=updates.wanted(container.id)
            )
            reply = await plugin.ask(api.UPDATE_CONTAINER, "UpdateContainer", request, api.UpdateContainerResponse)
            if reply is not None:
                updates.add(reply.update, plugin.name)
                evicted += [one.container_id for one in reply.evict]
        wanted = updates.take(container.id)
        await self.carry_out(updates.all(), evicted)
        return wanted

    async def stop(self, pod: types.PodSandbox, container: types.Container) -> None:
        request = api.StopContainerRequest(pod=pod, container=container)
        updates = Updates(Owners())
        for plugin in self._each():
            reply = await plugin.ask(api.STOP_CONTAINER, "StopContainer", request, api.StopContainerResponse)
            if reply is not None:
                updates.add(reply.update, plugin.name)
        # Not awaited: whoever waits for this may hold a container that an update wants.
        self._group.create_task(self.carry_out(updates.all()))

    async def carry_out(self, updates: Iterable[types.ContainerUpdate], evicted: Iterable[str] = ()) -> None:
        """Do what plugins want of containers; what fails is reported."""
        for container_id in evicted:
            try:
                await self._runtime.evict(container_id)
            except CrispError as exc:
                log.warning("NRI eviction failed", container_id=container_id, error=exc)
        for update in updates:
            try:
                await self._runtime.update(update)
            except CrispError as exc:
                log.warning("NRI update failed", container_id=update.container_id, error=exc)

    def _each(self) -> Iterator[Plugin]:
        """Each plugin once, also one that comes meanwhile: what it was told of the node may be older than the event."""
        done: list[Plugin] = []
        while left := [plugin for plugin in self._plugins if plugin not in done]:
            done.append(left[0])
            yield left[0]

    async def _validate(self, request: api.ValidateContainerAdjustmentRequest) -> None:
        """Ask those that judge what others want. Who does not answer has not agreed."""
        judges = [plugin for plugin in self._plugins if plugin.wants(api.VALIDATE_CONTAINER_ADJUSTMENT)]
        await asyncio.gather(*(_judge(plugin, request) for plugin in judges))


async def _judge(plugin: Plugin, request: api.ValidateContainerAdjustmentRequest) -> None:
    event, method = api.VALIDATE_CONTAINER_ADJUSTMENT, "ValidateContainerAdjustment"
    reply = await plugin.ask(event, method, request, api.ValidateContainerAdjustmentResponse)
    if reply is None and plugin.wants(event):
        raise Unavailable(f"NRI plugin {plugin.name} did not say whether container {request.container.id} may be made")
    if reply is not None and reply.reject:
        raise FailedPrecondition(f"NRI plugin {plugin.name} refuses container {request.container.id}: {reply.reason}")
