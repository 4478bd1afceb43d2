"""One connection: frames on a stream socket, for either end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from google.protobuf.message import DecodeError

from core.errdefs import Unavailable
from core.log import get_logger
from core.ttrpc.frames import Frame, FrameReader, ProtocolError

log = get_logger(__name__)


class Connection(asyncio.Protocol):
    """Calls `on_frame` for each frame, then `on_lost` once; a peer that breaks the protocol is hung up on."""

    def __init__(self, on_frame: Callable[[Frame], None], on_lost: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def fd(self) -> int:
        """Of its socket, when no frame is half read or half written; else -1."""
        transport = self._transport
        if transport is None or not self._reader.is_empty or transport.get_write_buffer_size():
            return -1
        fd: int = transport.get_extra_info("socket").fileno()
        return fd

    def send(self, frame: Frame) -> None:
        """Queue `frame`; it is dropped when the peer is gone. Raises FrameTooBig."""
        data = frame.encode()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def wait_writable(self) -> None:
        """Wait until the peer has read most of what was sent. Raises Unavailable when it is gone."""
        await self._writable.wait()
        if not self.open:
            raise Unavailable("ttrpc connection closed")

    def close(self) -> None:
        """Hang up once what was sent has been written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Hang up at once; what has not been written is lost."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._on_frame(frame)
        except (ProtocolError, DecodeError) as exc:
            log.warning("ttrpc peer hung up on", reason=exc)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self._on_lost()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
