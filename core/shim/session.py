"""A client's end of streams, seen from the shim: one request, events back, and the moment when it lets go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping

from google.protobuf.message import DecodeError

from core.api.crisp_shim_pb2 import OpenStreams, StreamsEvent, StreamsOpened
from core.errdefs import InvalidArgument
from core.linux.sockets import recv_fds

MAX_REQUEST = 4096
"""Bytes of OpenStreams: an id and flags."""
MAX_PROCESS = 4 << 20
"""Bytes of an OCI process: Linux takes 2 MiB of arguments and environment, execve(2), which JSON may stretch."""


class Session:
    """Over a connected seqpacket socket, whose owner closes it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        connection.setblocking(False)
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done when the client has let go; inside `watched`."""

    async def receive(self) -> tuple[OpenStreams, bytes]:
        """The request and the OCI process that came with it, b"" without one. Raises InvalidArgument, OSError."""
        await self._readable()
        try:
            data, fds = recv_fds(self._connection, MAX_REQUEST, 1)
        except ValueError as exc:
            raise InvalidArgument(f"OpenStreams: {exc}") from exc
        try:
            process = os.pread(fds[0], MAX_PROCESS, 0) if fds else b""
        finally:
            for fd in fds:
                os.close(fd)
        try:
            return OpenStreams.FromString(data), process
        except DecodeError as exc:
            raise InvalidArgument("OpenStreams: not such a message") from exc

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Notice inside the block when the client lets go."""
        self._loop.add_reader(self._connection, self._let_go)
        try:
            yield
        finally:
            self._loop.remove_reader(self._connection)

    def open(self, descriptors: Mapping[StreamsOpened.Descriptor, int], *, stdin: bool, shared: bool = False) -> bool:
        """Give the client `descriptors`, which stay the caller's too. Whether it took them."""
        opened = StreamsOpened(descriptors=list(descriptors), stdin=stdin, shared_stdin=shared)
        return self.tell(StreamsEvent(opened=opened), *descriptors.values())

    def tell(self, event: StreamsEvent, *fds: int) -> bool:
        """Send `event`; False when the client is gone, or the kernel holds too many descriptors in flight."""
        try:
            socket.send_fds(self._connection, [event.SerializeToString()], fds)
        except OSError:
            return False
        return True

    def _let_go(self) -> None:
        """The client has nothing to say but its end."""
        self._loop.remove_reader(self._connection)
        if not self.gone.done():
            self.gone.set_result(None)

    async def _readable(self) -> None:
        readable: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._connection, readable.set_result, None)
        try:
            await readable
        finally:
            self._loop.remove_reader(self._connection)
