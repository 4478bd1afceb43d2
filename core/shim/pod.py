"""All that serves one pod in one process, put together."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from core.api import crisp_shim_pb2, sandbox_pb2, task_v2_pb2, task_v3_pb2
from core.shim import rest
from core.shim.containers import Containers
from core.shim.exec_sync import ShimService
from core.shim.log_counts import LogCounter
from core.shim.luggage import Luggage, Packed
from core.shim.publish import Publisher
from core.shim.reaper import Reaper
from core.shim.sandbox_service import SandboxService
from core.shim.streams import StreamsServer
from core.shim.task_service import TaskService
from core.ttrpc.server import Server

_TASK_V3 = task_v3_pb2.DESCRIPTOR.services_by_name["Task"]
_TASK_V2 = task_v2_pb2.DESCRIPTOR.services_by_name["Task"]
_SANDBOX = sandbox_pb2.DESCRIPTOR.services_by_name["Sandbox"]
_SHIM = crisp_shim_pb2.DESCRIPTOR.services_by_name["Shim"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which pod, and where."""

    id: str
    dir: str
    """The sandbox's directory."""
    events: str
    """The ttrpc socket of whoever wants to know."""
    namespace: str
    """The containerd namespace that events carry."""
    quiet: float = rest.FIRST
    """Seconds, see core/shim/rest.py."""


class Pod:
    """Containers and sandbox, served to clients. Inside a running loop; `group` has what waits for exits."""

    def __init__(self, place: Place, group: asyncio.TaskGroup, counter: LogCounter, shim: int) -> None:
        """`shim` is the pid that the shim is known by."""
        self.place = place
        self.over = asyncio.Event()
        self.reaper = Reaper()
        self.publisher = Publisher(place.events, place.namespace)
        self.containers = Containers(group, counter)
        self.streams = StreamsServer(self.containers)
        self.server = Server()
        self._tasks = TaskService(
            self.containers, self.reaper, self.publisher, place.namespace, self.over.set, shim=shim
        )
        self._sandbox = SandboxService(place.id, place.dir, self.reaper, self.over.set, shim)
        self.server.register(_TASK_V3, self._tasks)
        self.server.register(_TASK_V2, self._tasks)
        self.server.register(_SANDBOX, self._sandbox)
        self.server.register(_SHIM, ShimService(self.containers))

    @property
    def wanted(self) -> bool:
        """Whether anybody has asked for anything."""
        return self._sandbox.created or bool(self.containers.list())

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way that is not a task: calls, execs, clients, runs of the OCI runtime all are."""
        parts = (self.publisher, self.server, self._tasks, self._sandbox)
        return self.wanted and not self.over.is_set() and all(part.at_rest for part in parts)

    def end(self) -> None:
        """As a client's ShutdownSandbox does."""
        self._sandbox.end()

    def put_down(self, luggage: Luggage) -> Packed:
        return {
            "tasks": self._tasks.put_down(luggage),
            "sandbox": self._sandbox.put_down(),
            "connections": [
                (luggage.pack(fd, wakes=True), last_id) for fd, last_id in self.server.connections().items()
            ],
        }

    async def take_up(self, state: Packed, luggage: Luggage) -> None:
        self._tasks.take_up(state["tasks"], luggage)
        self._sandbox.take_up(state["sandbox"])
        for place, last_id in state["connections"]:
            await self.server.take_up(socket.socket(fileno=luggage.unpack(place)), last_id)
