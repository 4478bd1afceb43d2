"""Operations that outlive the call that began them.

A kubelet whose deadline passed sends the same request again. What runs under a name goes on, shielded from the caller's
cancellation; the same request again joins it, or takes its finished result if the first answer was never delivered.
Another request for a name that is in use, or the same one after its answer was delivered, is AlreadyExists
(hazards 3.10, 3.11). A name is held only while its operation runs or its object exists, so never for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from core.errdefs import AlreadyExists
from core.log import get_logger
from core.steps import Call, current

log = get_logger(__name__)

T = TypeVar("T")
Work = Callable[["Operation"], Awaitable[str]]


@dataclass(slots=True, eq=False)
class Operation:
    """One running or undelivered operation; the steps of `call` tell a waiting operator where it stands."""

    name: str
    request: bytes
    result: asyncio.Future[str]
    call: Call
    started: float

    def describe(self) -> str:
        where = self.call.where() or "at no step"
        return f"{self.name!r}, {where}, {time.monotonic() - self.started:.1f} s after its start"


class Operations:
    """The operations of one daemon, by name. Their tasks belong to `group`, which the server closes last."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._by_name: dict[str, Operation] = {}

    async def run(self, name: str, request: bytes, work: Work) -> str:
        """Run `work` under `name`, or join or adopt it; return its result.

        Raises AlreadyExists when another request holds the name, and whatever `work` raises.
        """
        operation = self._by_name.get(name) or self._begin(name, request, work)
        if operation.request != request:
            raise AlreadyExists(f"another request holds the name {operation.describe()}")
        call = current()
        if call and call is not operation.call:
            call.joined = operation.call
        try:
            result = await asyncio.shield(operation.result)
        except asyncio.CancelledError:
            log.warning("caller went away, the operation goes on", operation=operation.describe())
            raise
        self.release(name)
        return result

    async def finish(self, work: Awaitable[T]) -> T:
        """Await `work`, which goes to its end also when the caller goes away: half done is what nobody wants."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def settle() -> None:
            try:
                done.set_result(await work)
            except asyncio.CancelledError:
                done.cancel()
                raise
            except Exception as exc:  # noqa: BLE001 - the edge: it is raised again where it is awaited
                done.set_exception(exc)
                done.exception()  # retrieved, also when nobody waits any more

        self._group.create_task(settle())
        return await asyncio.shield(done)

    def release(self, name: str) -> None:
        """Forget an undelivered result: its object is gone, or its answer was delivered."""
        operation = self._by_name.get(name)
        if operation and operation.result.done():
            del self._by_name[name]

    @property
    def running(self) -> int:
        """How many run, or have a result that nobody has got yet."""
        return len(self._by_name)

    async def wait_present(self, seconds: float) -> bool:
        """Wait for those that run now, not for those that begin meanwhile; whether all have ended within `seconds`."""
        present = [operation.result for operation in self._by_name.values() if not operation.result.done()]
        return not present or not (await asyncio.wait(present, timeout=seconds))[1]

    async def wait_idle(self) -> None:
        """Return when no operation runs."""
        while pending := [operation.result for operation in self._by_name.values() if not operation.result.done()]:
            await asyncio.wait(pending)

    def _begin(self, name: str, request: bytes, work: Work) -> Operation:
        result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        call = current() or Call(name=name)
        operation = Operation(name=name, request=request, result=result, call=call, started=time.monotonic())
        self._by_name[name] = operation
        self._group.create_task(self._settle(operation, work))
        return operation

    async def _settle(self, operation: Operation, work: Work) -> None:
        """Run the work to its end. A failure frees the name at once; whoever waits gets the error."""
        try:
            operation.result.set_result(await work(operation))
        except asyncio.CancelledError:
            del self._by_name[operation.name]
            operation.result.cancel()
            raise
        except Exception as exc:  # noqa: BLE001 - the edge: it is raised again where it is awaited
            del self._by_name[operation.name]
            operation.result.set_exception(exc)
            operation.result.exception()  # retrieved, also when nobody waits any more
            log.info("operation failed", operation=operation.describe(), error=exc)
