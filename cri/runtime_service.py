"""runtime.v1.RuntimeService: each RPC unwraps, calls its verb, wraps."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from cri import api
from cri.calls import Calls
from cri.container.create import create_container
from cri.container.deps import ContainerDeps
from cri.container.exec import attach_url, exec_url
from cri.container.exec_sync import exec_sync
from cri.container.logs import reopen_log
from cri.container.remove import remove_container
from cri.container.start import start_container
from cri.container.status import container_status, list_containers, stream_containers
from cri.container.stop import stop_container
from cri.container.update import update_container_resources
from cri.events.events import Events
from cri.node import Node
from cri.sandbox.deps import SandboxDeps
from cri.sandbox.port_forward import port_forward
from cri.sandbox.remove import remove_pod_sandbox
from cri.sandbox.run import run_pod_sandbox
from cri.sandbox.status import list_pod_sandboxes, pod_sandbox_status, stream_pod_sandboxes
from cri.sandbox.stop import stop_pod_sandbox
from cri.sandbox.update import update_pod_sandbox_resources
from cri.stats.container import container_stats, list_container_stats, stream_container_stats
from cri.stats.deps import StatsDeps
from cri.stats.pod_metrics import list_metric_descriptors, list_pod_sandbox_metrics, stream_pod_sandbox_metrics
from cri.stats.sandbox import list_pod_sandbox_stats, pod_sandbox_stats, stream_pod_sandbox_stats
from cri.streaming.server import StreamingServer


class RuntimeService:
    def __init__(
        self,
        *,
        sandboxes: SandboxDeps,
        containers: ContainerDeps,
        node: Node,
        events: Events,
        streaming: StreamingServer,
        stats: StatsDeps,
        calls: Calls,
    ) -> None:
        self._sandboxes = sandboxes
        self._containers = containers
        self._node = node
        self._events = events
        self._streaming = streaming
        self._stats = stats
        self._calls = calls

    async def version(self, request: api.VersionRequest) -> api.VersionResponse:
        return self._node.version(request)

    async def status(self, request: api.StatusRequest) -> api.StatusResponse:
        return self._node.status(request)

    async def runtime_config(self, _request: api.RuntimeConfigRequest) -> api.RuntimeConfigResponse:
        return self._node.runtime_config()

    async def update_runtime_config(self, request: api.UpdateRuntimeConfigRequest) -> api.UpdateRuntimeConfigResponse:
        await self._node.update_runtime_config(request)
        return api.UpdateRuntimeConfigResponse()

    async def run_pod_sandbox(self, request: api.RunPodSandboxRequest) -> api.RunPodSandboxResponse:
        return api.RunPodSandboxResponse(pod_sandbox_id=await run_pod_sandbox(self._sandboxes, request))

    async def stop_pod_sandbox(self, request: api.StopPodSandboxRequest) -> api.StopPodSandboxResponse:
        await stop_pod_sandbox(self._sandboxes, request.pod_sandbox_id)
        return api.StopPodSandboxResponse()

    async def remove_pod_sandbox(self, request: api.RemovePodSandboxRequest) -> api.RemovePodSandboxResponse:
        await remove_pod_sandbox(self._sandboxes, request.pod_sandbox_id)
        return api.RemovePodSandboxResponse()

    async def pod_sandbox_status(self, request: api.PodSandboxStatusRequest) -> bytes:
        return pod_sandbox_status(self._sandboxes, self._containers, self._calls, request)

    async def list_pod_sandbox(self, request: api.ListPodSandboxRequest) -> bytes:
        return list_pod_sandboxes(self._sandboxes, request.filter)

    async def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse:
        return api.CreateContainerResponse(container_id=await create_container(self._containers, request))

    async def start_container(self, request: api.StartContainerRequest) -> api.StartContainerResponse:
        await start_container(self._containers, request.container_id)
        return api.StartContainerResponse()

    async def stop_container(self, request: api.StopContainerRequest) -> api.StopContainerResponse:
        await stop_container(self._containers, request.container_id, request.timeout)
        return api.StopContainerResponse()

    async def remove_container(self, request: api.RemoveContainerRequest) -> api.RemoveContainerResponse:
        await remove_container(self._containers, request.container_id)
        return api.RemoveContainerResponse()

    async def list_containers(self, request: api.ListContainersRequest) -> bytes:
        return list_containers(self._containers, request.filter)

    async def container_status(self, request: api.ContainerStatusRequest) -> bytes:
        return container_status(self._containers, request)

    async def update_container_resources(
        self, request: api.UpdateContainerResourcesRequest
    ) -> api.UpdateContainerResourcesResponse:
        await update_container_resources(self._containers, request)
        return api.UpdateContainerResourcesResponse()

    async def update_pod_sandbox_resources(
        self, request: api.UpdatePodSandboxResourcesRequest
    ) -> api.UpdatePodSandboxResourcesResponse:
        await update_pod_sandbox_resources(self._sandboxes, request)
        return api.UpdatePodSandboxResourcesResponse()

    async def reopen_container_log(self, request: api.ReopenContainerLogRequest) -> api.ReopenContainerLogResponse:
        await reopen_log(self._containers, request.container_id)
        return api.ReopenContainerLogResponse()

    async def exec_sync(self, request: api.ExecSyncRequest) -> api.ExecSyncResponse:
        return await exec_sync(self._containers, request)

    def get_container_events(self, _request: api.GetEventsRequest) -> AsyncGenerator[bytes, None]:
        return self._events.read()

    async def exec(self, request: api.ExecRequest) -> api.ExecResponse:
        return exec_url(self._containers, request, self._streaming.url)

    async def attach(self, request: api.AttachRequest) -> api.AttachResponse:
        return attach_url(self._containers, request, self._streaming.url)

    async def port_forward(self, request: api.PortForwardRequest) -> api.PortForwardResponse:
        return port_forward(self._sandboxes, request, self._streaming.url)

    async def container_stats(self, request: api.ContainerStatsRequest) -> bytes:
        return await container_stats(self._stats, request.container_id)

    async def list_container_stats(self, request: api.ListContainerStatsRequest) -> bytes:
        return await list_container_stats(self._stats, request.filter)

    async def pod_sandbox_stats(self, request: api.PodSandboxStatsRequest) -> bytes:
        return await pod_sandbox_stats(self._stats, request.pod_sandbox_id)

    async def list_pod_sandbox_stats(self, request: api.ListPodSandboxStatsRequest) -> bytes:
        return await list_pod_sandbox_stats(self._stats, request.filter)

    async def list_metric_descriptors(
        self, _request: api.ListMetricDescriptorsRequest
    ) -> api.ListMetricDescriptorsResponse:
        return list_metric_descriptors()

    async def list_pod_sandbox_metrics(self, _request: api.ListPodSandboxMetricsRequest) -> bytes:
        return await list_pod_sandbox_metrics(self._stats)

    def stream_pod_sandboxes(self, request: api.StreamPodSandboxesRequest) -> AsyncGenerator[bytes, None]:
        return stream_pod_sandboxes(self._sandboxes, request.filter)

    def stream_containers(self, request: api.StreamContainersRequest) -> AsyncGenerator[bytes, None]:
        return stream_containers(self._containers, request.filter)

    def stream_container_stats(self, request: api.StreamContainerStatsRequest) -> AsyncGenerator[bytes, None]:
        return stream_container_stats(self._stats, request.filter)

    def stream_pod_sandbox_stats(self, request: api.StreamPodSandboxStatsRequest) -> AsyncGenerator[bytes, None]:
        return stream_pod_sandbox_stats(self._stats, request.filter)

    def stream_pod_sandbox_metrics(self, _request: api.StreamPodSandboxMetricsRequest) -> AsyncGenerator[bytes, None]:
        return stream_pod_sandbox_metrics(self._stats)
