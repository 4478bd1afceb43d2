"""SPDY inside of a WebSocket: its bytes in binary messages, cut anywhere (KEP-4006)."""

from __future__ import annotations

from collections.abc import Sequence

from cri.streaming.websocket.connection import Violation, WebSocket


class Tunnel:
    """`cri.streaming.wire.Wire` in a WebSocket."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._pieces = socket.pieces()

    async def read(self) -> bytes:
        try:
            async for piece in self._pieces:
                if piece.data:
                    return piece.data
        except Violation as exc:
            self._socket.fail(exc)
        return b""

    def gone(self) -> bool:
        return self._socket.gone()

    def write(self, buffers: Sequence[bytes]) -> None:
        self._socket.send(b"".join(buffers))

    async def drain(self) -> None:
        await self._socket.drain()

    async def close(self, linger: float) -> None:
        await self._socket.close(linger)
