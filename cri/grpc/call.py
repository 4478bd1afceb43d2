"""One RPC on its way, as its handler sees it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Protocol

from core.log import get_logger
from cri.grpc import wire
from cri.grpc.codes import Code, Refused
from cri.http2.connection import Connection

log = get_logger(__name__)


class Peer(Protocol):
    """The connection that a call came by."""

    http: Connection

    def flush(self) -> None:
        """Write what `http` has to be written."""

    async def drain(self) -> None:
        """Wait until the socket takes more."""


class Call:
    """From the request's headers to the response's trailers. What is sent when the client has gone is dropped."""

    def __init__(self, peer: Peer, stream_id: int, metadata: Mapping[str, str]) -> None:
        self.metadata = metadata
        self._peer = peer
        self._id = stream_id
        timeout = wire.timeout(metadata.get("grpc-timeout", ""))
        self._deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        self._task: asyncio.Task[None] | None = None
        self._begun = self._finished = False
        """What of the response is under way."""
        self._reader = wire.MessageReader()
        self._messages: deque[bytes] = deque()
        self._ended = False
        self._withheld = 0
        """Bytes that came while messages were waiting already: the client gets no new room for them yet."""
        self._more = asyncio.Event()
        self._sent = asyncio.Event()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What answers it, once it has begun to."""
        return self._task

    def remaining(self) -> float | None:
        """Seconds until the client's deadline; None without one."""
        return None if self._deadline is None else self._deadline - asyncio.get_running_loop().time()

    @property
    def request(self) -> bytes:
        """The message of a call that has one."""
        return self._messages[0]

    async def requests(self) -> AsyncIterator[bytes]:
        """The messages of a stream as they come."""
        while True:
            while self._messages:
                yield self._messages.popleft()
            self._peer.http.consumed(self._id, self._withheld)
            self._peer.flush()
            self._withheld = 0
            if self._ended:
                return
            self._more.clear()
            await self._more.wait()

    def begin(self) -> None:
        """Send the response's headers; before the first `write`."""
        self._begun = True
        self._peer.http.respond(self._id, wire.RESPONSE)
        self._peer.flush()

    async def write(self, message: bytes) -> None:
        """Send a message of a stream; returns when the client's windows and the socket have taken it."""
        self._sent.clear()
        waiting = self._peer.http.send(self._id, wire.message(message))
        self._peer.flush()
        if waiting:
            await self._sent.wait()
        await self._peer.drain()

    def reply(self, message: bytes) -> None:
        """Send a response of one message, as a whole."""
        self._finished = True
        self._peer.http.respond(self._id, wire.RESPONSE)
        self._peer.http.send(self._id, wire.message(message))
        self._peer.http.end(self._id, wire.trailers(Code.OK, ""))
        self._peer.flush()

    def finish(self, code: Code, text: str = "") -> None:
        """Send the end of a response that has no message, or no more."""
        self._finished = True
        block = wire.trailers(code, text)
        self._peer.http.end(self._id, block if self._begun else wire.RESPONSE + block)
        self._peer.flush()

    def start(self, handler: Callable[[Call], Coroutine[Any, Any, None]], on_end: Callable[[], None]) -> None:
        """Let `handler` answer; it does not raise."""
        self._task = asyncio.get_running_loop().create_task(handler(self))
        self._task.add_done_callback(lambda task: self._settle(task, on_end))

    def receive(self, data: bytes, *, ended: bool) -> None:
        """What the connection has brought. Raises Refused."""
        if self._messages:
            self._withheld += len(data)
        else:
            self._peer.http.consumed(self._id, len(data))
        self._messages += self._reader.feed(data)
        self._ended = ended
        self._more.set()

    def require_one(self) -> None:
        """Raises Refused when not just one message has come."""
        if len(self._messages) != 1:
            raise Refused(Code.INTERNAL, f"one message was expected, and {len(self._messages)} came")

    def sent(self) -> None:
        """The client's windows have taken what was written."""
        self._sent.set()

    def abandon(self) -> None:
        """The client has gone, or given up."""
        if self._task:
            self._task.cancel()

    def _settle(self, task: asyncio.Task[None], on_end: Callable[[], None]) -> None:
        on_end()
        if not task.cancelled() and (error := task.exception()):
            log.error("handler failed", path=self.metadata.get(":path"), error=error)
        if not self._finished:
            self.finish(Code.CANCELLED, "the call was cancelled")
