"""What shims report, over ttrpc at the daemon's events socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from google.protobuf.empty_pb2 import Empty

from core.api.events_pb2 import ForwardRequest
from core.api.task_events_pb2 import TaskExit as ExitEvent
from core.api.task_events_pb2 import TaskOOM
from core.tasks.exits import Exits
from core.tasks.tasks import TaskExit


class EventsService:
    """containerd.services.events.ttrpc.v1.Events. The reply says that an event was taken; other topics are dropped."""

    def __init__(self, exits: Exits, settle: Callable[[str], Awaitable[None]]) -> None:
        """`settle` waits for the last output of a container that has exited; a shim repeats what takes long."""
        self._exits = exits
        self._settle = settle
        self._oom: set[str] = set()

    async def forward(self, request: ForwardRequest) -> Empty:
        envelope = request.envelope  # types by topic: the type_url of containerd's own events has no prefix
        if envelope.topic == "/tasks/oom":
            self._oom.add(TaskOOM.FromString(envelope.event.value).container_id)
        elif envelope.topic == "/tasks/exit":
            await self._exited(ExitEvent.FromString(envelope.event.value))
        return Empty()

    async def _exited(self, event: ExitEvent) -> None:
        if event.id not in ("", event.container_id):
            return  # an exec: its caller waits for it
        await self._settle(event.container_id)
        record = self._exits.recorded(event.container_id)  # an earlier daemon may have taken the OOM event
        oom = event.container_id in self._oom or (record is not None and record.oom_killed)
        self._oom.discard(event.container_id)
        self._exits.tell(
            TaskExit(
                container_id=event.container_id,
                exec_id="",
                pid=event.pid,
                exit_code=event.exit_status,
                exited_at=event.exited_at.ToNanoseconds() / 1e9,
                oom_killed=oom,
            )
        )
