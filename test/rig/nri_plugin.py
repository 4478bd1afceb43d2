"""An NRI plugin that tests write: both connections on one socket, framed here and not by the code under test."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from core.api import nri_pb2 as api
from core.api.ttrpc_pb2 import Request, Response, Status
from rig.patience import patient

PIECE = struct.Struct(">II")
FRAME = struct.Struct(">IIBB")
PLUGIN, RUNTIME = 1, 2
REQUEST, RESPONSE = 1, 2
METHODS = api.DESCRIPTOR.services_by_name["Plugin"].methods_by_name
UNKNOWN, UNIMPLEMENTED = 2, 12

Handler = Callable[[Any], Message | None]


class Refused(Exception):
    """What a handler raises to answer with an error."""


class NriPlugin:
    """Answers each call with what its handler returns, an empty message without one, and remembers it.

    A method in `lacking` is answered with Unimplemented.
    """

    def __init__(
        self,
        connection: socket.socket,
        handlers: Mapping[str, Handler] | None = None,
        *,
        events: int = 0,
        lacking: tuple[str, ...] = (),
    ) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._connection = connection
        self._handlers = dict(handlers or {})
        self._events = events
        self._lacking = lacking
        self._changed = threading.Condition()
        self._replies: dict[int, Response] = {}
        self._writing = threading.Lock()
        self._calling = threading.Lock()
        self._next_id = 1
        self._over = False
        self._buffers = {PLUGIN: bytearray(), RUNTIME: bytearray()}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def connect(cls, path: str, handlers: Mapping[str, Handler] | None = None, **options: Any) -> Self:
        return cls(connected(path), handlers, **options)

    def register(self, index: str = "00", name: str = "test") -> Self:
        """Register, and return when it has been synchronized."""
        self.call("RegisterPlugin", api.RegisterPluginRequest(plugin_idx=index, plugin_name=name), api.Empty)
        self.wait("Synchronize")
        return self

    def call(self, method: str, request: Message, reply: type[Message]) -> Any:
        """Call the runtime. Raises Refused."""
        envelope = Request(service="nri.pkg.api.v1alpha1.Runtime", method=method, payload=request.SerializeToString())
        with self._calling:  # ids arrive in their order
            stream, self._next_id = self._next_id, self._next_id + 2
            self._send(RUNTIME, stream, REQUEST, envelope.SerializeToString())
        self._until(lambda: stream in self._replies or self._over, method)
        if stream not in self._replies:
            raise Refused("hung up on")
        response = self._replies[stream]
        if response.status.code:
            raise Refused(response.status.message)
        return reply.FromString(response.payload)

    def of(self, method: str) -> list[Any]:
        """The requests of that method up to now."""
        return [request for name, request in self.calls if name == method]

    def wait(self, method: str, count: int = 1) -> Any:
        """The last of `count` requests of that method, when it has come."""
        self._until(lambda: len(self.of(method)) >= count, method)
        return self.of(method)[count - 1]

    def wait_dropped(self) -> None:
        """Return when the runtime has hung up."""
        self._until(lambda: self._over, "hanging up")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # not connected any more
            self._connection.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, patient(20)), f"{what} did not come; came: {self.calls}"

    def _read(self) -> None:
        try:
            while True:
                number, length = PIECE.unpack(_exact(self._connection, PIECE.size))
                self._take(number, _exact(self._connection, length))
        except OSError:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _take(self, number: int, data: bytes) -> None:
        buffer = self._buffers[number]
        buffer += data
        while len(buffer) >= FRAME.size and len(buffer) >= FRAME.size + FRAME.unpack_from(buffer)[0]:
            length, stream, _kind, _flags = FRAME.unpack_from(buffer)
            payload = bytes(buffer[FRAME.size : FRAME.size + length])
            del buffer[: FRAME.size + length]
            if number == RUNTIME:
                with self._changed:
                    self._replies[stream] = Response.FromString(payload)
                    self._changed.notify_all()
            else:
                threading.Thread(target=self._answer, args=(stream, Request.FromString(payload)), daemon=True).start()

    def _answer(self, stream: int, request: Request) -> None:
        method = METHODS[request.method]
        message = GetMessageClass(method.input_type).FromString(request.payload)
        response = Response()
        try:
            if request.method in self._lacking:
                response.status.CopyFrom(Status(code=UNIMPLEMENTED, message="not in this version"))
            else:
                self._note(request.method, message)
                reply = self._reply(request.method, message) or GetMessageClass(method.output_type)()
                response.payload = reply.SerializeToString()
        except Refused as exc:
            response.status.CopyFrom(Status(code=UNKNOWN, message=str(exc)))
        self._send(PLUGIN, stream, RESPONSE, response.SerializeToString())

    def _reply(self, method: str, message: Any) -> Message | None:
        if method in self._handlers:
            return self._handlers[method](message)
        return api.ConfigureResponse(events=self._events) if method == "Configure" else None

    def _note(self, method: str, message: Any) -> None:
        with self._changed:
            self.calls.append((method, message))
            self._changed.notify_all()

    def _send(self, number: int, stream: int, kind: int, data: bytes) -> None:
        frame = FRAME.pack(len(data), stream, kind, 0) + data
        with self._writing, contextlib.suppress(OSError):  # the runtime has hung up: the reader says so
            self._connection.sendall(PIECE.pack(number, len(frame)) + frame)


def connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def inherited() -> socket.socket:
    """Of a plugin that the runtime has started."""
    return socket.socket(fileno=int(os.environ["NRI_PLUGIN_SOCKET"]))


def _exact(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise OSError("end of connection")
        data += part
    return data
