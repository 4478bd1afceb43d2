"""The shim's messages in the words of `core.tasks.tasks`, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from core.api import task_types_pb2
from core.api.crisp_shim_pb2 import ExecSyncRequest, TaskOptions
from core.api.task_v3_pb2 import CreateTaskRequest, DeleteResponse, StateResponse
from core.api.types_pb2 import Mount as MountMessage
from core.errdefs import DeadlineExceeded, Internal
from core.shims.bundle import Runtime
from core.shims.client import ShimClient
from core.tasks.exits import read_record
from core.tasks.tasks import ExecResult, TaskExit, TaskIO, TaskState, TaskStatus
from core.types import Mount

_STATES = {
    task_types_pb2.CREATED: TaskState.CREATED,
    task_types_pb2.RUNNING: TaskState.RUNNING,
    task_types_pb2.STOPPED: TaskState.STOPPED,
    task_types_pb2.PAUSED: TaskState.PAUSED,
    task_types_pb2.PAUSING: TaskState.PAUSED,
}


def create_request(
    runtime: Runtime, container_id: str, bundle: str, rootfs: Sequence[Mount], io: TaskIO
) -> CreateTaskRequest:
    options = TaskOptions(
        runtime=runtime.binary,
        runtime_root=runtime.root,
        systemd_cgroup=runtime.systemd_cgroup,
        log_path=io.log_path,
        stdin=io.stdin,
        stdin_once=io.stdin_once,
        io_uid=io.owner[0],
        io_gid=io.owner[1],
    )
    mounts = [MountMessage(type=m.type, source=m.source, target=m.target, options=m.options) for m in rootfs]
    request = CreateTaskRequest(id=container_id, bundle=bundle, rootfs=mounts, terminal=io.terminal)
    request.options.Pack(options)
    return request


async def status_of(client: ShimClient, container_id: str, bundle: str) -> TaskStatus:
    reply = await client.state(container_id)
    state = _STATES.get(reply.status, TaskState.UNKNOWN)
    exit_ = None
    if state is TaskState.STOPPED:
        exit_ = read_record(container_id, bundle, reply.pid) or exit_of(container_id, reply)
    return TaskStatus(state=state, pid=reply.pid, exit=exit_)


def exit_of(container_id: str, reply: StateResponse | DeleteResponse) -> TaskExit:
    return TaskExit(
        container_id=container_id,
        exec_id="",
        pid=reply.pid,
        exit_code=reply.exit_status,
        exited_at=reply.exited_at.ToNanoseconds() / 1e9,
    )


async def collect(client: ShimClient, request: ExecSyncRequest) -> ExecResult:
    """Raises DeadlineExceeded when the shim has killed it, Internal when the shim lost it."""
    stdout, stderr = bytearray(), bytearray()
    async with contextlib.aclosing(client.exec_sync(request)) as parts:
        async for part in parts:
            stdout += part.stdout
            stderr += part.stderr
            if part.HasField("exit"):
                if part.exit.timed_out:
                    raise DeadlineExceeded(f"exec in container {request.container_id}: killed after its timeout")
                return ExecResult(stdout=bytes(stdout), stderr=bytes(stderr), exit_code=part.exit.code)
    raise Internal(f"exec in container {request.container_id}: the shim told no exit")
