"""A SPDY session on a wire: its streams as sources and sinks of bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from core.errdefs import Cancelled
from core.log import get_logger
from cri.streaming.inbox import Backlog, Inbox
from cri.streaming.spdy.events import DataReceived, Event, StreamEnded, StreamOpened, StreamReset, WindowOpened
from cri.streaming.spdy.frames import ProtocolError
from cri.streaming.spdy.session import SESSION, Session
from cri.streaming.wire import LINGER, SHORT_LINGER, Wire

log = get_logger(__name__)

MAX_FRAME = 32 << 10
"""Bytes of data in one frame of ours: what the peers send, and small enough that streams take turns."""


class Stream:
    """One stream of a session: what its opener sends is read, what is written goes to its opener."""

    def __init__(self, connection: Connection, stream_id: int, headers: Mapping[str, str]) -> None:
        self.id = stream_id
        self.headers = headers
        self._connection = connection
        self.inbox = Inbox(connection.backlog, lambda size: connection.consumed(stream_id, size))
        self.opened = asyncio.Event()
        """Set when something may be sent again."""
        self._broken = asyncio.Event()

    @property
    def broken(self) -> bool:
        """Whether either side has reset it, or the connection is lost."""
        return self._broken.is_set()

    async def wait_broken(self) -> None:
        await self._broken.wait()

    def mark_broken(self) -> None:
        """Nothing moves on it any more."""
        self._broken.set()
        self.inbox.end()
        self.opened.set()

    async def read(self, size: int) -> bytes:
        """At least one byte and at most `size`; b"" at the end. Raises Cancelled when the stream is broken."""
        data = await self.inbox.read(size)
        if not data and self.broken:
            raise Cancelled(f"stream {self.id} was reset")
        return data

    async def write(self, data: bytes) -> None:
        """Send all of `data`, as the peer's windows and its TCP allow. Raises Cancelled when it is gone."""
        while data:
            size = min(MAX_FRAME, await self._connection.window(self))
            await self._connection.send(self.id, data[:size])
            data = data[size:]

    async def close(self) -> None:
        """Say that nothing more comes from here. Idempotent."""
        self._connection.finish(self.id)

    def reset(self) -> None:
        """Have no more to do with the stream: what has come is dropped, and the peer is told unless it has ended."""
        self._connection.reset(self.id)
        self.inbox.discard()


class Connection:
    """One session. `run` moves its bytes; `on_stream` says of each new stream whether it is wanted."""

    def __init__(self, wire: Wire, on_stream: Callable[[Stream], bool]) -> None:
        self.backlog = Backlog()
        self._wire = wire
        self._on_stream = on_stream
        self._session = Session(time.monotonic)
        self._linger = LINGER
        self._streams: dict[int, Stream] = {}

    async def run(self) -> None:
        """Receive until the peer is gone or breaks the protocol; all streams are at their ends then."""
        try:
            self._flush()
            while data := await self._wire.read():
                for event in self._session.receive(data):
                    self._handle(event)
                if self._flush():
                    await self._wire.drain()  # answers that a peer asks for and does not take do not pile up
                await self.backlog.wait_room(self._wire.gone)
        except ProtocolError as exc:
            log.info("client breaks SPDY", reason=exc)
            self._linger = SHORT_LINGER
        except Cancelled:
            pass  # between two reads
        finally:
            for stream in list(self._streams.values()):
                self._break(stream)

    async def close(self, linger: float) -> None:
        """Say goodbye and hang up, at the latest `linger` seconds later."""
        self._session.go_away()
        self._flush()
        await self._wire.close(min(linger, self._linger))

    async def window(self, stream: Stream) -> int:
        """How many bytes may be sent on `stream`, at least one. Raises Cancelled when it is no more."""
        while not (size := self._session.window(stream.id)):
            if stream.broken or not self._session.writable(stream.id):
                raise Cancelled(f"stream {stream.id} was closed by the client")
            stream.opened.clear()
            await stream.opened.wait()
        return size

    async def send(self, stream_id: int, data: bytes) -> None:
        """Send at most `window` bytes. Raises Cancelled."""
        self._session.send(stream_id, data)
        self._flush()
        await self._wire.drain()

    def finish(self, stream_id: int) -> None:
        self._session.finish(stream_id)
        self._flush()
        self._forget_closed(stream_id)

    def reset(self, stream_id: int) -> None:
        self._session.reset(stream_id)
        self._flush()
        if stream := self._streams.get(stream_id):
            self._break(stream)

    def consumed(self, stream_id: int, size: int) -> None:
        self._session.consumed(stream_id, size)
        self._flush()

    def _flush(self) -> bool:
        """Send what the session has to say; whether it had anything."""
        buffers = self._session.take()
        if buffers:
            self._wire.write(buffers)
        return bool(buffers)

    def _handle(self, event: Event) -> None:
        if isinstance(event, StreamOpened):
            self._open(event)
            return
        if isinstance(event, WindowOpened) and event.stream_id == SESSION:
            for stream in self._streams.values():
                stream.opened.set()
            return
        known = self._streams.get(event.stream_id)
        if known is None:
            return
        match event:
            case DataReceived():
                known.inbox.put(event.data)
            case StreamEnded():
                known.inbox.end()
                self._forget_closed(event.stream_id)
            case StreamReset():
                self._break(known)
            case WindowOpened():
                known.opened.set()

    def _open(self, event: StreamOpened) -> None:
        stream = Stream(self, event.stream_id, event.headers)
        self._streams[event.stream_id] = stream
        if self._on_stream(stream):
            self._session.reply(event.stream_id)
        else:
            self._break(stream)
            self._session.refuse(event.stream_id)

    def _break(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        stream.mark_broken()

    def _forget_closed(self, stream_id: int) -> None:
        if not self._session.alive(stream_id):
            self._streams.pop(stream_id, None)
