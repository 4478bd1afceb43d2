"""Tasks in our own shims, which write the logs, keep exit records and run execs.

A foreign shim-v2 runtime has FIFOs instead of log files and runs execs as tasks: it gets a class beside this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from core.api import events_pb2
from core.api.crisp_shim_pb2 import ExecSyncRequest, OpenStreams
from core.api.task_v3_pb2 import UpdateTaskRequest
from core.errdefs import CrispError, DeadlineExceeded, NotFound, Unavailable
from core.failpoint import failpoint
from core.linux.cgroup import CgroupLayout
from core.shims.client import ShimClient
from core.shims.manager import Liveness, ShimManager
from core.steps import step
from core.tasks.events import EventsService
from core.tasks.exits import Exits
from core.tasks.limits import SavedLimits
from core.tasks.messages import collect, create_request, exit_of, status_of
from core.tasks.shim_streams import DRAIN, ShimExec, ShimStreams
from core.tasks.tasks import ExecResult, OnExit, TaskExit, TaskIO, Tasks, TaskStatus
from core.ttrpc.address import listen
from core.ttrpc.server import Server
from core.types import Mount

EXEC_GRACE = 15.0  # seconds beyond an exec's own timeout for the shim to kill it and drain its output
RESOURCES = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"  # containerd's typeurl of the JSON

_UNDECIDED = (Unavailable, DeadlineExceeded, asyncio.CancelledError)
"""After these a container may still come to life."""


class ShimTasks:
    """`core.tasks.tasks.Tasks` over the shims of `manager`."""

    def __init__(self, manager: ShimManager, *, drain: float = DRAIN) -> None:
        """`drain`: seconds that the output of an exec's client may come after the exec has ended."""
        self._manager = manager
        self._drain = drain
        self._exits = Exits()
        manager.subscribe(self._tell_recorded)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take the shims' events inside the block; outside of it they keep them. One daemon at a time."""
        server = Server()
        server.register(events_pb2.DESCRIPTOR.services_by_name["Events"], EventsService(self._exits))
        async with server.serving(listen(self._manager.events_address)):
            yield

    def subscribe(self, on_exit: OnExit) -> None:
        self._exits.subscribe(on_exit)

    async def create(
        self, sandbox_id: str, container_id: str, bundle: str, *, rootfs: Sequence[Mount] = (), io: TaskIO
    ) -> int:
        shim = self._manager.get(sandbox_id)
        client = await shim.client()
        earlier = self._exits.forget(container_id)
        shim.directory.add_container(container_id, bundle)
        failpoint("task.create.noted")
        self._exits.expect(container_id, bundle)
        try:
            pid = await client.create(create_request(shim.runtime, container_id, bundle, rootfs, io))
        except BaseException as exc:
            self._exits.forget(container_id)
            self._exits.restore(container_id, earlier)  # AlreadyExists, for one, does not end what exists
            if earlier is None and not isinstance(exc, _UNDECIDED):
                shim.directory.forget_container(container_id)
            raise
        self._exits.identify(container_id, pid)
        return pid

    async def start(self, sandbox_id: str, container_id: str) -> None:
        await (await self._client(sandbox_id)).start(container_id)

    async def kill(self, sandbox_id: str, container_id: str, signal: int, *, all_processes: bool = False) -> None:
        with contextlib.suppress(NotFound):
            await (await self._client(sandbox_id)).kill(container_id, signal, all_processes=all_processes)

    async def status(self, sandbox_id: str, container_id: str) -> TaskStatus:
        shim = self._manager.get(sandbox_id)
        return await status_of(await shim.client(), container_id, shim.directory.containers().get(container_id, ""))

    async def pids(self, sandbox_id: str, container_id: str) -> tuple[int, ...]:
        return await (await self._client(sandbox_id)).pids(container_id)

    async def exec_sync(
        self, sandbox_id: str, container_id: str, process: dict[str, Any], *, timeout: float, limit: int
    ) -> ExecResult:
        request = ExecSyncRequest(
            container_id=container_id,
            process=json.dumps(process).encode(),
            timeout_ns=round(timeout * 1e9),
            limit=limit,
        )
        client = await self._client(sandbox_id)
        try:
            with step("shim ExecSync"):
                async with asyncio.timeout(timeout + EXEC_GRACE if timeout else None):
                    return await collect(client, request)
        except TimeoutError as exc:
            raise DeadlineExceeded(f"exec in container {container_id}: the shim does not answer") from exc

    async def exec(
        self, sandbox_id: str, container_id: str, process: dict[str, Any], *, stdin: bool, stdout: bool, stderr: bool
    ) -> ShimExec:
        request = OpenStreams(
            container_id=container_id,
            exec=True,
            terminal=bool(process.get("terminal")),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        return await ShimExec.open(
            self._streams(sandbox_id), request, json.dumps(process).encode(), drain=self._drain
        )

    async def attach(
        self, sandbox_id: str, container_id: str, *, stdin: bool, stdout: bool, stderr: bool
    ) -> ShimStreams:
        request = OpenStreams(container_id=container_id, stdin=stdin, stdout=stdout, stderr=stderr)
        return await ShimStreams.open(self._streams(sandbox_id), request)

    async def update(self, sandbox_id: str, container_id: str, resources: dict[str, Any]) -> None:
        request = UpdateTaskRequest(id=container_id)
        request.resources.type_url = RESOURCES
        request.resources.value = json.dumps(resources).encode()
        client = await self._client(sandbox_id)
        saved = SavedLimits(CgroupLayout.read(), (await client.state(container_id)).pid, resources)
        try:
            await client.update(request)
        except CrispError:
            saved.restore()
            raise

    async def reopen_log(self, sandbox_id: str, container_id: str) -> None:
        await (await self._client(sandbox_id)).reopen_log(container_id)

    async def delete(self, sandbox_id: str, container_id: str) -> TaskExit | None:
        try:
            shim = self._manager.get(sandbox_id)
        except Unavailable:
            if await self.adopt(sandbox_id):
                return await self.delete(sandbox_id, container_id)
            shim = None  # dead, and what it ran was ended
        exit_ = await self._delete(await shim.client(), container_id) if shim else None
        failpoint("task.delete.deleted")
        self._exits.forget(container_id)
        self._manager.directory(sandbox_id).forget_container(container_id)
        return exit_

    async def _delete(self, client: ShimClient, container_id: str) -> TaskExit | None:
        record = self._exits.recorded(container_id)
        expected = self._exits.forget(container_id)
        try:
            reply = await client.delete(container_id)
        except NotFound:
            return None
        except BaseException:
            self._exits.restore(container_id, expected)
            raise
        return record or exit_of(container_id, reply) if reply.pid else None

    async def end_hung(self, sandbox_id: str) -> bool:
        liveness = await self._manager.adopt(sandbox_id)
        if liveness is Liveness.UNKNOWN:
            await self._manager.kill(sandbox_id)
        if liveness is not Liveness.ALIVE:
            self._tell_recorded(sandbox_id)
        return liveness is not Liveness.ALIVE

    async def adopt(self, sandbox_id: str) -> bool:
        liveness = await self._manager.adopt(sandbox_id)
        if liveness is Liveness.UNKNOWN:
            raise Unavailable(f"the shim of sandbox {sandbox_id} runs and does not answer: try again later")
        if liveness is Liveness.DEAD:
            self._tell_recorded(sandbox_id)
            return False
        shim = self._manager.get(sandbox_id)
        client = await shim.client()
        for container_id, bundle in shim.directory.containers().items():
            await self._adopt_task(client, container_id, bundle)
        return True

    async def _adopt_task(self, client: ShimClient, container_id: str, bundle: str) -> None:
        self._exits.expect_earlier(container_id, bundle)  # first: an event may overtake the reply
        with contextlib.suppress(NotFound):  # its creation failed, or has not come to the shim yet
            status = await status_of(client, container_id, bundle)
            self._exits.identify(container_id, status.pid)
            if status.exit:
                self._exits.tell(status.exit)

    def _tell_recorded(self, sandbox_id: str) -> None:
        """Tell the exits that a dead shim recorded. Of those that were killed now the shim's death is told."""
        for container_id, bundle in self._manager.directory(sandbox_id).containers().items():
            self._exits.expect_earlier(container_id, bundle)
            exit_ = self._exits.recorded(container_id)
            if exit_:
                self._exits.identify(container_id, exit_.pid)
                self._exits.tell(exit_)

    def _streams(self, sandbox_id: str) -> str:
        return self._manager.get(sandbox_id).directory.streams

    async def _client(self, sandbox_id: str) -> ShimClient:
        return await self._manager.get(sandbox_id).client()


_fits: type[Tasks] = ShimTasks
