"""The calls of a shim that is not ours: it knows tasks and their execs, and nothing of sandboxes."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from core.api.task_v3_pb2 import (
    CloseIORequest,
    ConnectRequest,
    ConnectResponse,
    DeleteRequest,
    DeleteResponse,
    ExecProcessRequest,
    KillRequest,
    ResizePtyRequest,
    ShutdownRequest,
    StartRequest,
    StartResponse,
    WaitRequest,
    WaitResponse,
)
from core.shims.client import PING, QUICK, SLOW, ShimClient


class ForeignClient(ShimClient):
    """`exec_id` is "" for the container's first process."""

    async def pid(self, sandbox_id: str) -> int:
        """The shim's own."""
        request = ConnectRequest(id=sandbox_id)
        return (await self._call(self._task, "Connect", request, ConnectResponse, timeout=PING)).shim_pid

    async def ping(self, sandbox_id: str) -> None:
        await self.pid(sandbox_id)

    async def shutdown_sandbox(self, sandbox_id: str) -> None:
        """A shim of the runc family stays while it has containers."""
        request = ShutdownRequest(id=sandbox_id, now=True)
        await self._call(self._task, "Shutdown", request, Empty, timeout=PING)

    async def exec(self, request: ExecProcessRequest) -> None:
        await self._call(self._task, "Exec", request, Empty, timeout=SLOW)

    async def start_exec(self, container_id: str, exec_id: str) -> None:
        request = StartRequest(id=container_id, exec_id=exec_id)
        await self._call(self._task, "Start", request, StartResponse, timeout=SLOW)

    async def wait(self, container_id: str, exec_id: str) -> int:
        """The exit code, when it has ended."""
        request = WaitRequest(id=container_id, exec_id=exec_id)
        return (await self._call(self._task, "Wait", request, WaitResponse)).exit_status

    async def kill_exec(self, container_id: str, exec_id: str, signal: int) -> None:
        request = KillRequest(id=container_id, exec_id=exec_id, signal=signal)
        await self._call(self._task, "Kill", request, Empty, timeout=SLOW)

    async def delete_exec(self, container_id: str, exec_id: str) -> None:
        request = DeleteRequest(id=container_id, exec_id=exec_id)
        await self._call(self._task, "Delete", request, DeleteResponse, timeout=SLOW)

    async def resize(self, container_id: str, exec_id: str, width: int, height: int) -> None:
        request = ResizePtyRequest(id=container_id, exec_id=exec_id, width=width, height=height)
        await self._call(self._task, "ResizePty", request, Empty, timeout=QUICK)

    async def close_stdin(self, container_id: str, exec_id: str) -> None:
        request = CloseIORequest(id=container_id, exec_id=exec_id, stdin=True)
        await self._call(self._task, "CloseIO", request, Empty, timeout=QUICK)
