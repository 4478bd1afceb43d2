"""Asking a shim for streams: connect, ask, and take the descriptors that come with the answer."""

from __future__ import annotations

import asyncio
import os
import socket

from core.api.crisp_shim_pb2 import OpenStreams, StreamsEvent, StreamsOpened
from core.errdefs import Internal, ResourceExhausted, Unavailable
from core.linux.sockets import recv_fds
from core.tasks.pipes import Readiness
from core.ttrpc.address import short_path
from core.ttrpc.status import from_status

MAX_EVENT = 64 << 10
"""Bytes of a StreamsEvent: at most an error with the OCI runtime's words in it."""

Descriptors = dict[StreamsOpened.Descriptor, int]


async def connect(path: str) -> socket.socket:
    """A connection to the streams socket `path`. Raises Unavailable (no shim), ResourceExhausted (it is overrun)."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.setblocking(False)
    try:
        with short_path(path) as short:
            connection.connect(short)
    except BlockingIOError as exc:
        connection.close()
        raise ResourceExhausted(f"{path}: more clients are waiting than the kernel queues: try again") from exc
    except OSError as exc:
        connection.close()
        raise Unavailable(f"streams socket {path}: {exc.strerror}") from exc
    return connection


async def ask(
    connection: socket.socket, request: OpenStreams, process: bytes
) -> tuple[StreamsOpened, Descriptors]:
    """Send `request`, with the OCI process (JSON) of an exec, and wait for the descriptors, the caller's to close.

    Raises what the shim answers, Unavailable when it is gone. A caller that is cancelled closes the connection, which
    ends whatever had begun.
    """
    _send(connection, request, process)
    loop = asyncio.get_running_loop()
    await Readiness(connection.fileno(), loop.add_reader, loop.remove_reader).wait()
    data, fds = _receive(connection)
    event = StreamsEvent.FromString(data)
    if event.HasField("opened") and len(event.opened.descriptors) == len(fds):
        return event.opened, dict(zip(event.opened.descriptors, fds))
    for fd in fds:
        os.close(fd)
    if event.HasField("error"):
        raise from_status(event.error)
    if not data:
        raise Unavailable("the shim went away")
    raise Internal(f"the shim opened {len(event.opened.descriptors)} streams and sent {len(fds)}")


def _send(connection: socket.socket, request: OpenStreams, process: bytes) -> None:
    """The process goes as a file: its environment can exceed what a message may be."""
    message = [request.SerializeToString()]
    if not process:
        socket.send_fds(connection, message, ())
        return
    file = os.memfd_create("process", os.MFD_CLOEXEC)
    try:
        os.write(file, process)
        socket.send_fds(connection, message, (file,))
    finally:
        os.close(file)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    try:
        return recv_fds(connection, MAX_EVENT, len(StreamsOpened.Descriptor.keys()))
    except ConnectionError as exc:
        raise Unavailable(f"the shim went away: {exc.strerror}") from exc
    except ValueError as exc:
        raise Internal(f"the shim's answer: {exc}") from exc
