"""The calling end: many calls at a time over one connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from google.protobuf.message import Message

from core.api.ttrpc_pb2 import Request, Response
from core.errdefs import CrispError, DeadlineExceeded, ResourceExhausted, Unavailable
from core.ttrpc.address import short_path
from core.ttrpc.connection import Connection
from core.ttrpc.frames import Flags, Frame, FrameTooBig, FrameType
from core.ttrpc.status import from_status

M = TypeVar("M", bound=Message)
_Replies = asyncio.Queue[Frame | CrispError]
_NANO = 1_000_000_000


class Client:
    """Calls services at one socket. A lost connection fails what is pending with Unavailable; the caller reconnects."""

    def __init__(self, on_close: Callable[[], None] = lambda: None) -> None:
        self._connection = Connection(self._received, self._lost)
        self._on_close = on_close
        self._calls: dict[int, _Replies] = {}
        self._next_id = 1  # odd and growing: ttrpc PROTOCOL.md, "Stream ID"

    @classmethod
    async def connect(cls, path: str, *, on_close: Callable[[], None] = lambda: None) -> Client:
        """Connect to the unix socket `path`; `on_close` is called once when the connection ends, by whichever side.

        Raises Unavailable when nobody listens.
        """
        client = cls(on_close)
        try:
            with short_path(path) as short:
                await asyncio.get_running_loop().create_unix_connection(lambda: client._connection, short)
        except OSError as exc:
            raise Unavailable(f"ttrpc socket {path}: {exc.strerror}") from exc
        return client

    @property
    def protocol(self) -> asyncio.Protocol:
        """For a transport that is not a socket of its own: a channel of many on one."""
        return self._connection

    @property
    def connected(self) -> bool:
        return self._connection.open

    async def call(self, service: str, method: str, request: Message, reply: type[M], *, timeout: float = 0) -> M:
        """Make a unary call; `timeout` in seconds, 0 for none.

        Raises the CrispError that the server answered with, DeadlineExceeded, or Unavailable when the connection is
        lost; after the last two the call may have taken effect.
        """
        stream_id, replies = self._begin(service, method, request, Flags.NONE, timeout)
        try:
            async with asyncio.timeout(timeout or None):
                frame = _frame(await replies.get())
        except TimeoutError as exc:
            raise DeadlineExceeded(f"{service}/{method}: no answer within {timeout:g} s") from exc
        finally:
            self._calls.pop(stream_id, None)
        return reply.FromString(_payload(frame))

    async def stream(self, service: str, method: str, request: Message, reply: type[M]) -> AsyncGenerator[M, None]:
        """Call a server-streaming method and yield its messages as they come. Raises as `call` does.

        What the caller does not take waits in memory: ttrpc has no flow control, so bound it in `request`.
        """
        stream_id, replies = self._begin(service, method, request, Flags.REMOTE_CLOSED)
        try:
            while True:
                frame = _frame(await replies.get())
                if frame.type is FrameType.RESPONSE:  # an error, or the only message of a stream
                    yield reply.FromString(_payload(frame))
                    return
                if not frame.flags & Flags.NO_DATA:
                    yield reply.FromString(frame.data)
                if frame.flags & Flags.REMOTE_CLOSED:
                    return
        finally:
            self._calls.pop(stream_id, None)

    def close(self) -> None:
        """Hang up. Calls that are pending fail with Unavailable. Idempotent."""
        self._connection.close()

    def _begin(
        self, service: str, method: str, request: Message, flags: Flags, timeout: float = 0
    ) -> tuple[int, _Replies]:
        if not self._connection.open:
            raise Unavailable(f"{service}/{method}: ttrpc connection closed")
        envelope = Request(
            service=service, method=method, payload=request.SerializeToString(), timeout_nano=int(timeout * _NANO)
        )
        stream_id = self._next_id
        data = envelope.SerializeToString()
        try:
            self._connection.send(Frame(stream_id=stream_id, type=FrameType.REQUEST, flags=flags, data=data))
        except FrameTooBig as exc:
            raise ResourceExhausted(f"{service}/{method}: request of {exc}") from exc
        self._next_id += 2
        replies = self._calls[stream_id] = _Replies()
        return stream_id, replies

    def _received(self, frame: Frame) -> None:
        replies = self._calls.get(frame.stream_id)
        if replies is not None:  # else the caller has given up: ttrpc cannot cancel
            replies.put_nowait(frame)

    def _lost(self) -> None:
        for replies in self._calls.values():
            replies.put_nowait(Unavailable("ttrpc connection lost"))
        self._on_close()


def _frame(reply: Frame | CrispError) -> Frame:
    if isinstance(reply, CrispError):
        raise reply
    return reply


def _payload(frame: Frame) -> bytes:
    response = Response.FromString(frame.data)
    if response.status.code:
        raise from_status(response.status)
    return response.payload
