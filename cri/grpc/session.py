"""One connection of a client of gRPC: what comes by it, to the calls that it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, cast

from core.log import get_logger
from cri.grpc import wire
from cri.grpc.call import Call
from cri.grpc.codes import Code, Refused
from cri.http2.connection import Connection
from cri.http2.events import Event, Received, Requested, Reset
from cri.http2.frames import ConnectionFailed

log = get_logger(__name__)

WRITE_BUFFER = 1 << 20
"""Bytes that wait for a socket before we stop reading from it: who does not read answers can ask for no more."""
MAX_PATH = 200
"""Characters of a path that nobody serves, in the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What answers an RPC: a task for each call, cancelled when its client goes or gives up."""

    handler: Callable[[Call], Coroutine[Any, Any, None]]
    takes_stream: bool = False
    """Whether it starts with the request's headers, not when the one message is there."""


class Session(asyncio.Protocol):
    """`routes` are by path; while it is connected it is in `sessions`."""

    def __init__(self, routes: Mapping[str, Route], sessions: set[Session]) -> None:
        self.http = Connection()
        self._routes = routes
        self._sessions = sessions
        self._calls: dict[int, tuple[Call, Route]] = {}
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()

    def tasks(self) -> list[asyncio.Task[None]]:
        """Of the calls that are being answered."""
        return [call.task for call, _ in self._calls.values() if call.task]

    def leave(self) -> None:
        """Take no new calls."""
        self.http.leave()
        self.flush()

    async def close(self) -> None:
        """Hang up once the client has read all."""
        self._transport.close()
        await self._lost.wait()

    def abort(self) -> None:
        """Hang up."""
        self._transport.abort()

    def flush(self) -> None:
        if data := self.http.take():
            self._transport.write(data)

    async def drain(self) -> None:
        await self._writable.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER)
        self._sessions.add(self)
        self.flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._sessions.discard(self)
        self._lost.set()
        for call, _ in tuple(self._calls.values()):
            call.abandon()

    def pause_writing(self) -> None:
        self._writable.clear()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._writable.set()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self.http.receive(data):
                self._handle(event)
        except ConnectionFailed as exc:
            log.info("client breaks HTTP/2", reason=exc)
            self.flush()
            self._transport.close()
        else:
            self.flush()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Requested):
            self._open(event)
        elif found := self._calls.get(event.stream_id):
            call, route = found
            if isinstance(event, Received):
                self._receive(event, call, route)
            elif isinstance(event, Reset):
                call.abandon()
                if not call.task:
                    self._forget(event.stream_id)
            else:
                call.sent()

    def _open(self, event: Requested) -> None:
        metadata = {name.decode("latin-1"): value.decode(errors="replace") for name, value in event.headers}
        if not metadata.get("content-type", "").startswith("application/grpc"):
            self.http.end(event.stream_id, wire.NOT_GRPC)
            return
        path = metadata.get(":path", "")
        call, route = Call(self, event.stream_id, metadata), self._routes.get(path)
        if route is None:
            call.finish(Code.UNIMPLEMENTED, f"there is no {path[:MAX_PATH]} here")
            return
        self._calls[event.stream_id] = call, route
        if route.takes_stream:
            self._start(event.stream_id, call, route)
        if event.ended:
            self._receive(Received(event.stream_id, b"", ended=True), call, route)

    def _receive(self, event: Received, call: Call, route: Route) -> None:
        try:
            call.receive(event.data, ended=event.ended)
            if event.ended and not route.takes_stream:
                call.require_one()
                self._start(event.stream_id, call, route)
        except Refused as exc:
            call.finish(exc.code, str(exc))
            call.abandon()
            self._forget(event.stream_id)

    def _start(self, stream_id: int, call: Call, route: Route) -> None:
        call.start(route.handler, lambda: self._forget(stream_id))

    def _forget(self, stream_id: int) -> None:
        self._calls.pop(stream_id, None)
