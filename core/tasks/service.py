"""Tasks in shims. What only our own do, and how others do without, is told by `shim_kind`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from core.api import events_pb2
from core.api.task_v3_pb2 import UpdateTaskRequest
from core.errdefs import CrispError, DeadlineExceeded, NotFound, Unavailable
from core.failpoint import failpoint
from core.linux.cgroup import CgroupLayout
from core.shims.client import ShimClient
from core.shims.manager import Liveness, ShimManager
from core.shims.shim import Shim
from core.steps import step
from core.tasks.events import EventsService
from core.tasks.exits import Exits
from core.tasks.foreign import ForeignShims
from core.tasks.limits import SavedLimits
from core.tasks.messages import exit_of, status_of
from core.tasks.own import OwnShims
from core.tasks.shim_kind import ShimKind
from core.tasks.shim_streams import DRAIN
from core.tasks.streams import ExecStreams, Streams
from core.tasks.tasks import ExecResult, OnExit, TaskExit, TaskIO, Tasks, TaskStatus
from core.ttrpc.address import listen
from core.ttrpc.server import Server
from core.types import Mount

RESOURCES = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"  # containerd's typeurl of the JSON

_UNDECIDED = (Unavailable, DeadlineExceeded, asyncio.CancelledError)
"""After these a container may still come to life."""


class ShimTasks:
    """`core.tasks.tasks.Tasks` over the shims of `manager`."""

    def __init__(self, manager: ShimManager, *, drain: float = DRAIN) -> None:
        """`drain`: seconds that the output of an exec's client may come after the exec has ended."""
        self._manager = manager
        self._own, self._foreign = OwnShims(drain), ForeignShims(drain)
        self._exits = Exits()
        manager.subscribe(self._tell_recorded)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take the shims' events inside the block; outside of it they keep them. One daemon at a time."""
        server = Server()
        events = EventsService(self._exits, self._foreign.settle)
        server.register(events_pb2.DESCRIPTOR.services_by_name["Events"], events)
        async with server.serving(listen(self._manager.events_address)):
            yield

    def subscribe(self, on_exit: OnExit) -> None:
        self._exits.subscribe(on_exit)

    async def create(
        self, sandbox_id: str, container_id: str, bundle: str, *, rootfs: Sequence[Mount] = (), io: TaskIO
    ) -> int:
        shim, kind = self._shim(sandbox_id)
        await shim.client()
        earlier = self._exits.forget(container_id)
        shim.directory.add_container(container_id, bundle)
        failpoint("task.create.noted")
        self._exits.expect(container_id, bundle)
        try:
            pid = await kind.create(shim, container_id, bundle, rootfs, io)
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
        shim, kind = self._shim(sandbox_id)
        with step("shim ExecSync"):
            return await kind.exec_sync(shim, container_id, process, timeout=timeout, limit=limit)

    async def exec(
        self, sandbox_id: str, container_id: str, process: dict[str, Any], *, stdin: bool, stdout: bool, stderr: bool
    ) -> ExecStreams:
        shim, kind = self._shim(sandbox_id)
        return await kind.exec(shim, container_id, process, stdin=stdin, stdout=stdout, stderr=stderr)

    async def attach(
        self, sandbox_id: str, container_id: str, *, stdin: bool, stdout: bool, stderr: bool
    ) -> Streams:
        shim, kind = self._shim(sandbox_id)
        return await kind.attach(shim, container_id, stdin=stdin, stdout=stdout, stderr=stderr)

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
        shim, kind = self._shim(sandbox_id)
        await kind.reopen_log(shim, container_id)

    async def delete(self, sandbox_id: str, container_id: str) -> TaskExit | None:
        try:
            shim = self._manager.get(sandbox_id)
        except Unavailable:
            if await self.adopt(sandbox_id):
                return await self.delete(sandbox_id, container_id)
            shim = None  # dead, and what it ran was ended
        exit_ = await self._delete(await shim.client(), container_id) if shim else None
        failpoint("task.delete.deleted")
        if shim:
            self._kind(shim).forget(shim, container_id)
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
        if liveness is Liveness.ALIVE:
            await self._adopt_tasks(sandbox_id)  # it may not have answered before
            return False
        self._tell_recorded(sandbox_id)
        return True

    async def adopt(self, sandbox_id: str) -> bool:
        liveness = await self._manager.adopt(sandbox_id)
        if liveness is Liveness.UNKNOWN:
            raise Unavailable(f"the shim of sandbox {sandbox_id} runs and does not answer: try again later")
        if liveness is Liveness.DEAD:
            self._tell_recorded(sandbox_id)
            return False
        await self._adopt_tasks(sandbox_id)
        return True

    async def _adopt_tasks(self, sandbox_id: str) -> None:
        shim = self._manager.get(sandbox_id)
        for container_id, bundle in shim.directory.containers().items():
            await self._adopt_task(shim, container_id, bundle)

    async def _adopt_task(self, shim: Shim, container_id: str, bundle: str) -> None:
        self._exits.expect_earlier(container_id, bundle)  # first: an event may overtake the reply
        self._kind(shim).adopt(shim, container_id)
        with contextlib.suppress(NotFound):  # its creation failed, or has not come to the shim yet
            status = await status_of(await shim.client(), container_id, bundle)
            self._exits.identify(container_id, status.pid)
            if status.exit:
                await self._kind(shim).settle(container_id)
                self._exits.tell(status.exit)

    def _tell_recorded(self, sandbox_id: str) -> None:
        """Tell the exits that a dead shim recorded. Of those that were killed now the shim's death is told."""
        for container_id, bundle in self._manager.directory(sandbox_id).containers().items():
            self._exits.expect_earlier(container_id, bundle)
            exit_ = self._exits.recorded(container_id)
            if exit_:
                self._exits.identify(container_id, exit_.pid)
                self._exits.tell(exit_)

    def _shim(self, sandbox_id: str) -> tuple[Shim, ShimKind]:
        """Raises Unavailable."""
        shim = self._manager.get(sandbox_id)
        return shim, self._kind(shim)

    def _kind(self, shim: Shim) -> ShimKind:
        return self._foreign if shim.runtime.shim else self._own

    async def _client(self, sandbox_id: str) -> ShimClient:
        return await self._manager.get(sandbox_id).client()


_fits: type[Tasks] = ShimTasks
