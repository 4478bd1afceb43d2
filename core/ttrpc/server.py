"""The answering end: services of any connection that the socket's mode and the peer's credentials let in.

A service is a protobuf ServiceDescriptor and an object with one method per RPC, in snake_case (`CloseIO` is
`close_io`): a coroutine from request to response, or an async generator of responses for a server stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from core.api.ttrpc_pb2 import Request, Response
from core.errdefs import CrispError, InvalidArgument, ResourceExhausted, Unimplemented
from core.linux.sockets import peer_credentials
from core.log import get_logger
from core.ttrpc.connection import Connection
from core.ttrpc.frames import Flags, Frame, FrameTooBig, FrameType
from core.ttrpc.status import to_status

log = get_logger(__name__)

DRAIN = 2.0  # seconds that replies in flight get when serving ends
MAX_CALLS = 4096  # handlers of one connection at a time: far above 110 pods' Waits and probes, far below memory
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    name: str
    """Of the method of a handlers object."""
    request: type[Message]
    streaming: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    methods: Mapping[str, _Method]
    handlers: object


class Server:
    def __init__(self) -> None:
        self._services: dict[str, _Service] = {}
        self._sessions: set[_Session] = set()

    def register(self, service: ServiceDescriptor, handlers: object) -> None:
        """Answer the RPCs of `service` with the methods of `handlers`; those it lacks answer Unimplemented."""
        name, methods = _table(service)
        self._services[name] = _Service(methods=methods, handlers=handlers)

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve inside the block. `listener` is bound and listening (inherited, say) and is closed at the end.

        At the end replies in flight get DRAIN seconds, then handlers are cancelled and connections closed.
        """
        listener.setblocking(False)
        server = await asyncio.get_running_loop().create_unix_server(self.accept, sock=listener)
        try:
            yield
        finally:
            server.close()
            await self._finish()

    def accept(self) -> asyncio.Protocol:
        """What answers on one connection, also one that came in another way."""
        session = _Session(self._services, self._sessions)
        self._sessions.add(session)
        return session.connection

    @property
    def at_rest(self) -> bool:
        """Whether no call is under way on any connection."""
        return all(not session.tasks and session.connection.fd >= 0 for session in self._sessions)

    def connections(self) -> dict[int, int]:
        """Descriptors of all connections, at rest, and the last stream id that each has seen."""
        return {session.connection.fd: session.last_id for session in self._sessions}

    async def take_up(self, connection: socket.socket, last_id: int) -> None:
        """Go on where another process, with the same services, has left a connection."""
        session = _Session(self._services, self._sessions, last_id)
        self._sessions.add(session)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: session.connection, connection)

    async def _finish(self) -> None:
        tasks = [task for session in self._sessions for task in session.tasks]
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN)
        for task in tasks:
            task.cancel()
        for session in self._sessions:
            session.connection.close()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Session:
    """The calls of one connection. A handler of a unary call runs to its end though the peer be gone, since half a
    `create` helps nobody; a stream that nobody reads is cancelled."""

    def __init__(self, services: Mapping[str, _Service], sessions: set[_Session], last_id: int = 0) -> None:
        self.connection = _Guarded(self._received, self._lost)
        self.tasks: dict[asyncio.Task[None], _Method] = {}
        self._services = services
        self._sessions = sessions
        self.last_id = last_id

    def _received(self, frame: Frame) -> None:
        if frame.type is not FrameType.REQUEST:
            return  # the end of a client's stream that we never asked for
        try:
            request = Request.FromString(frame.data)
            method, handler = self._admit(frame.stream_id, request)
            message = method.request.FromString(request.payload)
        except CrispError as exc:
            self._fail(frame.stream_id, exc)
            return
        task = asyncio.get_running_loop().create_task(self._run(frame.stream_id, method, handler, message))
        self.tasks[task] = method
        task.add_done_callback(self._ended)

    def _admit(self, stream_id: int, request: Request) -> tuple[_Method, Any]:
        """Raises InvalidArgument (ttrpc PROTOCOL.md, "Stream ID"), ResourceExhausted, Unimplemented."""
        if stream_id % 2 != 1 or stream_id <= self.last_id:
            raise InvalidArgument(f"stream id {stream_id} after {self.last_id}: want odd and growing")
        self.last_id = stream_id
        if len(self.tasks) >= MAX_CALLS:
            raise ResourceExhausted(f"{MAX_CALLS} calls are running on this connection: wait for one to end")
        try:
            service = self._services[request.service]
            method = service.methods[request.method]
            return method, getattr(service.handlers, method.name)
        except (KeyError, AttributeError):
            raise Unimplemented(f"{request.service}/{request.method}") from None

    async def _run(self, stream_id: int, method: _Method, handler: Any, message: Message) -> None:
        try:
            await (self._stream if method.streaming else self._unary)(stream_id, handler, message)
        except CrispError as exc:
            self._fail(stream_id, exc)
        except FrameTooBig as exc:
            self._fail(stream_id, ResourceExhausted(f"response of {exc}"))
        except Exception as exc:  # the RPC edge
            log.exception("ttrpc handler failed", request=method.request.DESCRIPTOR.full_name)
            self._fail(stream_id, exc)

    async def _unary(self, stream_id: int, handler: Any, message: Message) -> None:
        reply = await handler(message)
        response = Response(payload=reply.SerializeToString())
        self._send(stream_id, FrameType.RESPONSE, Flags.NONE, response.SerializeToString())

    async def _stream(self, stream_id: int, handler: Any, message: Message) -> None:
        async with contextlib.aclosing(handler(message)) as replies:
            async for reply in replies:
                self._send(stream_id, FrameType.DATA, Flags.NONE, reply.SerializeToString())
                await self.connection.wait_writable()
        self._send(stream_id, FrameType.DATA, Flags.REMOTE_CLOSED | Flags.NO_DATA)

    def _fail(self, stream_id: int, error: Exception) -> None:
        response = Response(status=to_status(error))
        self._send(stream_id, FrameType.RESPONSE, Flags.NONE, response.SerializeToString())

    def _send(self, stream_id: int, kind: FrameType, flags: Flags, data: bytes = b"") -> None:
        self.connection.send(Frame(stream_id=stream_id, type=kind, flags=flags, data=data))

    def _lost(self) -> None:
        for task, method in self.tasks.items():
            if method.streaming:
                task.cancel()
        self._forget()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self.tasks[task]
        self._forget()

    def _forget(self) -> None:
        if not self.connection.open and not self.tasks:
            self._sessions.discard(self)


class _Guarded(Connection):
    """A connection for the user that runs this process only (CVE-2020-15257)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = peer_credentials(transport.get_extra_info("socket"))
        if peer.uid != os.geteuid():
            log.warning("ttrpc peer refused", uid=peer.uid, pid=peer.pid)
            self.abort()


def snake_case(name: str) -> str:
    """`CloseIO` is `close_io`."""
    return _WORD_START.sub("_", name).lower()


@functools.cache
def _table(service: ServiceDescriptor) -> tuple[str, Mapping[str, _Method]]:
    """Its full name, and its methods by theirs. Once in a process: a forked shim shares its zygote's."""
    return service.full_name, {method.name: _method(method) for method in service.methods}


def _method(method: MethodDescriptor) -> _Method:
    assert not method.client_streaming, f"{method.full_name}: streams of the client are not implemented"
    request = GetMessageClass(method.input_type)
    return _Method(name=snake_case(method.name), request=request, streaming=method.server_streaming)
