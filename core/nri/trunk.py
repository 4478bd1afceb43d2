"""One socket that carries several ttrpc connections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from core.log import get_logger
from core.nri.mux import BadPiece, PieceReader, pieces

log = get_logger(__name__)


class Trunk(asyncio.Protocol):
    """Gives each protocol of `ends`, by the number of its connection, a transport. They all end together."""

    def __init__(self, ends: Mapping[int, asyncio.Protocol]) -> None:
        self._ends = ends
        self._reader = PieceReader()
        self._transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        for number, end in self._ends.items():
            end.connection_made(_Channel(transport, number))

    def data_received(self, data: bytes) -> None:
        try:
            for number, part in self._reader.feed(data):
                if number in self._ends:  # others may come with a later version
                    self._ends[number].data_received(part)
        except BadPiece as exc:
            log.warning("NRI plugin hung up on", reason=exc)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for end in self._ends.values():
            end.connection_lost(exc)

    def pause_writing(self) -> None:
        for end in self._ends.values():
            end.pause_writing()

    def resume_writing(self) -> None:
        for end in self._ends.values():
            end.resume_writing()


class _Channel(asyncio.Transport):
    """A connection on the trunk; closed, it closes the trunk: nobody wants half a plugin."""

    def __init__(self, trunk: asyncio.Transport, number: int) -> None:
        super().__init__()
        self._trunk = trunk
        self._number = number

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """`data` is a whole ttrpc frame."""
        self._trunk.write(pieces(self._number, bytes(data)))

    def close(self) -> None:
        self._trunk.close()

    def abort(self) -> None:
        self._trunk.abort()

    def is_closing(self) -> bool:
        return self._trunk.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._trunk.get_extra_info(name, default)
