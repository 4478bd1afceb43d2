"""A shim in this process, with a `sleep` for its body, behind a zygote that forks nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from core.api import crisp_shim_pb2, sandbox_pb2, task_events_pb2, task_types_pb2, task_v3_pb2
from core.api.events_pb2 import ForwardRequest
from core.api.types_pb2 import Envelope
from core.errdefs import FailedPrecondition, InvalidArgument, NotFound
from core.linux.pidfd import ProcessIdentity
from core.shim.record import ExitRecord
from core.ttrpc.client import Client
from core.ttrpc.server import Server
from core.zygote.zygote import Progress


class FakeTask:
    def __init__(self, request: task_v3_pb2.CreateTaskRequest, pid: int) -> None:
        self.request = request
        self.pid = pid
        self.status = task_types_pb2.CREATED
        self.exit: ExitRecord | None = None


class FakeShim:
    """Sandbox, Task and Shim service of one sandbox. `exit` ends a task as its process would."""

    def __init__(self, args: Mapping[str, Any], body: asyncio.subprocess.Process) -> None:
        self.args = args
        self.body = body
        self.tasks: dict[str, FakeTask] = {}
        self.sandbox_options: crisp_shim_pb2.SandboxOptions | None = None
        self.state = "SANDBOX_NOTREADY"
        self.calls: list[str] = []
        self.next_pid = 1000
        self.outputs: list[crisp_shim_pb2.ExecOutput] = []
        self.answers = True

    def ready(self) -> None:
        identity = ProcessIdentity.of(self.body.pid)
        document = {"version": 1, "pid": identity.pid, "start_time": identity.start_time, "boot_id": identity.boot_id}
        Path(self.args["dir"], "shim.json").write_text(json.dumps(document))

    async def exit(
        self, container_id: str, code: int, *, oom: bool = False, events: Sequence[str] = ("oom", "exit")
    ) -> ExitRecord:
        task = self.tasks[container_id]
        task.status = task_types_pb2.STOPPED
        task.exit = ExitRecord(pid=task.pid, exit_code=code, exited_at=float(int(time.time())), oom_killed=oom)
        task.exit.save(task.request.bundle)
        if oom and "oom" in events:
            await self.publish("/tasks/oom", task_events_pb2.TaskOOM(container_id=container_id))
        if "exit" in events:
            await self.publish("/tasks/exit", exit_event(container_id, container_id, task.exit))
        return task.exit

    async def publish(self, topic: str, event: Message) -> None:
        packed = AnyMessage(type_url=event.DESCRIPTOR.full_name, value=event.SerializeToString())
        client = await Client.connect(self.args["events"])
        request = ForwardRequest(envelope=Envelope(topic=topic, namespace=self.args["namespace"], event=packed))
        await client.call("containerd.services.events.ttrpc.v1.Events", "Forward", request, Empty)
        client.close()

    async def create_sandbox(self, request: sandbox_pb2.CreateSandboxRequest) -> sandbox_pb2.CreateSandboxResponse:
        options = crisp_shim_pb2.SandboxOptions()
        assert request.options.Unpack(options)
        if "net.no.such" in options.sysctls:
            raise InvalidArgument("sysctl net.no.such")
        self.sandbox_options, self.state = options, "SANDBOX_READY"
        return sandbox_pb2.CreateSandboxResponse()

    async def start_sandbox(self, _request: sandbox_pb2.StartSandboxRequest) -> sandbox_pb2.StartSandboxResponse:
        return sandbox_pb2.StartSandboxResponse(pid=self.body.pid, created_at=Timestamp(seconds=12))

    async def stop_sandbox(self, _request: sandbox_pb2.StopSandboxRequest) -> sandbox_pb2.StopSandboxResponse:
        self.state = "SANDBOX_NOTREADY"
        return sandbox_pb2.StopSandboxResponse()

    async def sandbox_status(self, _request: sandbox_pb2.SandboxStatusRequest) -> sandbox_pb2.SandboxStatusResponse:
        return sandbox_pb2.SandboxStatusResponse(state=self.state, pid=self.body.pid)

    async def ping_sandbox(self, _request: sandbox_pb2.PingRequest) -> sandbox_pb2.PingResponse:
        if not self.answers:
            raise FailedPrecondition("hangs")
        return sandbox_pb2.PingResponse()

    async def shutdown_sandbox(
        self, _request: sandbox_pb2.ShutdownSandboxRequest
    ) -> sandbox_pb2.ShutdownSandboxResponse:
        self.calls.append("shutdown")
        self.body.kill()
        return sandbox_pb2.ShutdownSandboxResponse()

    async def create(self, request: task_v3_pb2.CreateTaskRequest) -> task_v3_pb2.CreateTaskResponse:
        if request.id == "bad":
            raise InvalidArgument("crun: exec: no such file")
        self.next_pid += 1
        self.tasks[request.id] = FakeTask(request, self.next_pid)
        return task_v3_pb2.CreateTaskResponse(pid=self.next_pid)

    async def start(self, request: task_v3_pb2.StartRequest) -> task_v3_pb2.StartResponse:
        self.task(request.id).status = task_types_pb2.RUNNING
        return task_v3_pb2.StartResponse(pid=self.task(request.id).pid)

    async def state_of(self, request: task_v3_pb2.StateRequest) -> task_v3_pb2.StateResponse:
        task = self.task(request.id)
        exit_ = task.exit
        return task_v3_pb2.StateResponse(
            id=request.id,
            pid=task.pid,
            status=task.status,
            exit_status=exit_.exit_code if exit_ else 0,
            exited_at=Timestamp(seconds=int(exit_.exited_at)) if exit_ else None,
        )

    async def pids(self, request: task_v3_pb2.PidsRequest) -> task_v3_pb2.PidsResponse:
        return task_v3_pb2.PidsResponse(processes=[task_types_pb2.ProcessInfo(pid=self.task(request.id).pid)])

    async def kill(self, request: task_v3_pb2.KillRequest) -> Empty:
        self.task(request.id)
        self.calls.append(f"kill {request.signal} {'all' if request.all else 'init'}")
        return Empty()

    async def update(self, request: task_v3_pb2.UpdateTaskRequest) -> Empty:
        self.calls.append(f"update {request.resources.value.decode()}")
        return Empty()

    async def delete(self, request: task_v3_pb2.DeleteRequest) -> task_v3_pb2.DeleteResponse:
        task = self.task(request.id)
        if task.status == task_types_pb2.RUNNING:
            raise FailedPrecondition("running")
        exit_ = task.exit or await self.exit(request.id, 137)
        del self.tasks[request.id]
        stamp = Timestamp(seconds=int(exit_.exited_at))
        return task_v3_pb2.DeleteResponse(pid=exit_.pid, exit_status=exit_.exit_code, exited_at=stamp)

    async def reopen_log(self, request: crisp_shim_pb2.ReopenLogRequest) -> Empty:
        self.calls.append(f"reopen {request.container_id}")
        return Empty()

    async def exec_sync(
        self, _request: crisp_shim_pb2.ExecSyncRequest
    ) -> AsyncIterator[crisp_shim_pb2.ExecOutput]:
        for output in self.outputs:
            yield output

    def task(self, container_id: str) -> FakeTask:
        if container_id not in self.tasks:
            raise NotFound(f"task {container_id}")
        return self.tasks[container_id]

    def server(self) -> Server:
        server = Server()
        server.register(sandbox_pb2.DESCRIPTOR.services_by_name["Sandbox"], self)
        server.register(task_v3_pb2.DESCRIPTOR.services_by_name["Task"], _TaskFace(self))
        server.register(crisp_shim_pb2.DESCRIPTOR.services_by_name["Shim"], self)
        return server


class _TaskFace:
    """`state` is an attribute of FakeShim and a method of Task."""

    def __init__(self, shim: FakeShim) -> None:
        self.create, self.start, self.state = shim.create, shim.start, shim.state_of
        self.pids, self.kill, self.update, self.delete = shim.pids, shim.kill, shim.update, shim.delete


class FakeZygote:
    """Detaches FakeShims, kept in `shims`; ends them with the block."""

    def __init__(self) -> None:
        self.shims: dict[str, FakeShim] = {}
        self.stillborn = False
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for shim in self.shims.values():
            with contextlib.suppress(ProcessLookupError):
                shim.body.kill()
            await shim.body.wait()
        await self._stack.aclose()

    async def detach(self, job: str, args: Mapping[str, Any], *, fds: Sequence[int] = ()) -> int:
        assert job == "shim"
        body = await asyncio.create_subprocess_exec("sleep", "1000")
        shim = self.shims[args["id"]] = FakeShim(args, body)
        if self.stillborn:
            body.kill()
            await body.wait()
            return body.pid
        shim.ready()
        await self._stack.enter_async_context(shim.server().serving(socket.socket(fileno=os.dup(fds[0]))))
        return body.pid

    async def run(
        self,
        job: str,
        args: Mapping[str, Any],
        *,
        fds: Sequence[int] = (),
        deadline: float,
        progress: Progress | None = None,
    ) -> Mapping[str, Any]:
        raise NotImplementedError


def exit_event(container_id: str, process_id: str, exit_: ExitRecord) -> task_events_pb2.TaskExit:
    return task_events_pb2.TaskExit(
        container_id=container_id,
        id=process_id,
        pid=exit_.pid,
        exit_status=exit_.exit_code,
        exited_at=Timestamp(seconds=int(exit_.exited_at)),
    )
