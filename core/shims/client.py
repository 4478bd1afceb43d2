"""The calls of a shim, one method each, with the time that each is worth."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from core.api.crisp_shim_pb2 import ExecOutput, ExecSyncRequest, ReopenLogRequest
from core.api.sandbox_pb2 import (
    CreateSandboxRequest,
    CreateSandboxResponse,
    PingRequest,
    PingResponse,
    SandboxStatusRequest,
    SandboxStatusResponse,
    ShutdownSandboxRequest,
    ShutdownSandboxResponse,
    StartSandboxRequest,
    StartSandboxResponse,
    StopSandboxRequest,
    StopSandboxResponse,
)
from core.api.task_v3_pb2 import (
    CreateTaskRequest,
    CreateTaskResponse,
    DeleteRequest,
    DeleteResponse,
    KillRequest,
    PidsRequest,
    PidsResponse,
    StartRequest,
    StartResponse,
    StateRequest,
    StateResponse,
    UpdateTaskRequest,
)
from core.steps import step
from core.ttrpc.client import Client

M = TypeVar("M", bound=Message)

TASK = "containerd.task.v{version}.Task"
SANDBOX = "containerd.runtime.sandbox.v1.Sandbox"
SHIM = "crisp.shim.v1.Shim"

QUICK = 10.0  # seconds for what only reads the shim's memory: containerd's loadContainer
SLOW = 120.0  # seconds for what runs the OCI runtime or unmounts: the kubelet's runtimeRequestTimeout
PING = 5.0  # seconds for a shim to show that it is alive, so that one that hangs delays no start (hazards 3.36)


class ShimClient:
    """One connection. Each call raises what the shim answers, DeadlineExceeded, or Unavailable when it is lost."""

    def __init__(self, client: Client, task_api: int = 3) -> None:
        """`task_api` is the version of the Task service; the messages of 2 and 3 are the same."""
        self._client = client
        self._task = TASK.format(version=task_api)

    @property
    def connected(self) -> bool:
        return self._client.connected

    def close(self) -> None:
        self._client.close()

    async def _call(self, service: str, method: str, request: Message, reply: type[M], *, timeout: float = 0) -> M:
        with step(f"shim {method}"):
            return await self._client.call(service, method, request, reply, timeout=timeout)

    async def ping(self, sandbox_id: str) -> None:
        await self._call(SANDBOX, "PingSandbox", PingRequest(sandbox_id=sandbox_id), PingResponse, timeout=PING)

    async def create_sandbox(self, request: CreateSandboxRequest) -> None:
        await self._call(SANDBOX, "CreateSandbox", request, CreateSandboxResponse, timeout=SLOW)

    async def start_sandbox(self, sandbox_id: str) -> StartSandboxResponse:
        request = StartSandboxRequest(sandbox_id=sandbox_id)
        return await self._call(SANDBOX, "StartSandbox", request, StartSandboxResponse, timeout=SLOW)

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatusResponse:
        request = SandboxStatusRequest(sandbox_id=sandbox_id)
        return await self._call(SANDBOX, "SandboxStatus", request, SandboxStatusResponse, timeout=QUICK)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        request = StopSandboxRequest(sandbox_id=sandbox_id)
        await self._call(SANDBOX, "StopSandbox", request, StopSandboxResponse, timeout=QUICK)

    async def shutdown_sandbox(self, sandbox_id: str) -> None:
        request = ShutdownSandboxRequest(sandbox_id=sandbox_id)
        await self._call(SANDBOX, "ShutdownSandbox", request, ShutdownSandboxResponse, timeout=PING)

    async def create(self, request: CreateTaskRequest) -> int:
        """The pid of the container's first process."""
        return (await self._call(self._task, "Create", request, CreateTaskResponse, timeout=SLOW)).pid

    async def start(self, container_id: str) -> None:
        await self._call(self._task, "Start", StartRequest(id=container_id), StartResponse, timeout=SLOW)

    async def state(self, container_id: str) -> StateResponse:
        return await self._call(self._task, "State", StateRequest(id=container_id), StateResponse, timeout=QUICK)

    async def pids(self, container_id: str) -> tuple[int, ...]:
        reply = await self._call(self._task, "Pids", PidsRequest(id=container_id), PidsResponse, timeout=QUICK)
        return tuple(process.pid for process in reply.processes)

    async def kill(self, container_id: str, signal: int, *, all_processes: bool) -> None:
        request = KillRequest(id=container_id, signal=signal, all=all_processes)
        await self._call(self._task, "Kill", request, Empty, timeout=SLOW)

    async def update(self, request: UpdateTaskRequest) -> None:
        await self._call(self._task, "Update", request, Empty, timeout=SLOW)

    async def delete(self, container_id: str) -> DeleteResponse:
        request = DeleteRequest(id=container_id)
        return await self._call(self._task, "Delete", request, DeleteResponse, timeout=SLOW)

    async def reopen_log(self, container_id: str) -> None:
        request = ReopenLogRequest(container_id=container_id)
        await self._call(SHIM, "ReopenLog", request, Empty, timeout=QUICK)

    def exec_sync(self, request: ExecSyncRequest) -> AsyncGenerator[ExecOutput, None]:
        """The output as it comes, then the exit; the shim keeps the time."""
        return self._client.stream(SHIM, "ExecSync", request, ExecOutput)
