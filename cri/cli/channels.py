"""The client's end of a stream of crispd's: Kubernetes' channels in a WebSocket, `v5.channel.k8s.io`."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import click
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

CONNECT_TIMEOUT = 10.0
"""Seconds for a server on this node to accept us."""
READ = 1 << 16
"""Bytes of one read: what a pipe holds."""
BACKLOG = 1 << 20
"""Bytes that wait for the server before what we send is not read any more."""
_CLOSE = 255
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Channels:
    """Does not block once it is connected: the caller selects on it. Raises ClickException when there is no stream."""

    def __init__(self, url: str, protocol: str) -> None:
        where = urlsplit(url)
        self._out = bytearray()
        self._channel: int | None = None
        """Of the message that is coming in."""
        self.closed = False
        try:
            self._socket = _connect(where.hostname or "", where.port or 0, tls=where.scheme == "https")
        except OSError as error:
            raise click.ClickException(f"no stream at {where.netloc}: {error}") from None
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._out += self._protocol.send(Request(host=where.netloc, target=where.path, subprotocols=[protocol]))
        self._accept()
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def waiting(self) -> int:
        """Bytes that the server has not taken yet: `flush` when it is writable."""
        return len(self._out)

    def send(self, channel: int, data: bytes) -> None:
        """Queue `data`; it is dropped when the stream has ended."""
        if self._protocol.state is ConnectionState.OPEN:
            self._out += self._protocol.send(BytesMessage(data=bytes([channel]) + data))

    def finish(self, channel: int) -> None:
        """Queue that no more comes on `channel`."""
        self.send(_CLOSE, bytes([channel]))

    def flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except _LATER:
            pass
        except OSError:
            self.closed = True

    def drain(self) -> None:
        """Wait until the server has taken all, or does not take any."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(CONNECT_TIMEOUT)
            self._socket.sendall(self._out)
        self._out.clear()
        self._socket.setblocking(False)

    def receive(self) -> Iterator[tuple[int, bytes]]:
        """What has come, each piece with its channel; at the end `closed` is set."""
        while not self.closed:
            try:
                data = self._socket.recv(READ)
            except _LATER:
                return
            except OSError:
                data = b""
            self._protocol.receive_data(data or None)
            yield from self._events()
            self.closed = self.closed or not data

    def close(self) -> None:
        self._socket.close()

    def _events(self) -> Iterator[tuple[int, bytes]]:
        for event in self._protocol.events():
            if isinstance(event, CloseConnection):
                self.closed = True
            elif isinstance(event, Ping):
                self._out += self._protocol.send(event.response())
            elif isinstance(event, BytesMessage | TextMessage):
                data = event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
                if self._channel is None and data:
                    self._channel, data = data[0], data[1:]
                if self._channel is not None and data:
                    yield self._channel, data
                if event.message_finished:
                    self._channel = None

    def _accept(self) -> None:
        """Send the handshake and wait for its answer."""
        self._socket.sendall(self._out)
        self._out.clear()
        refusal = b""
        while True:
            data = self._socket.recv(1)  # byte by byte: what follows the answer is the stream's
            self._protocol.receive_data(data or None)
            for event in self._protocol.events():
                if isinstance(event, AcceptConnection):
                    return
                if isinstance(event, RejectData):
                    refusal += event.data
                if isinstance(event, RejectConnection) and not event.has_body:
                    raise click.ClickException(f"the stream was refused with status {event.status_code}")
            if not data:
                raise click.ClickException(f"the stream was refused: {refusal.decode(errors='replace') or 'no answer'}")


def _connect(host: str, port: int, *, tls: bool) -> socket.socket:
    connection = socket.create_connection((host, port), CONNECT_TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not tls:
        return connection
    # The daemon told us the URL, with a token in it that serves once, over a socket that only root opens.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname=host)
