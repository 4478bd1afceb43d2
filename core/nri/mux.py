"""The multiplexer of NRI: bytes of several connections on one, no socket here (github.com/containerd/nri, pkg/net).

A piece is a header and as many bytes of one connection. There are two connections, and nothing opens or closes them.
"""

from __future__ import annotations

import struct

from core.ttrpc import frames

PLUGIN = 1
"""The connection on which the plugin answers."""
RUNTIME = 2
"""The one on which the runtime does."""

HEADER = struct.Struct(">II")  # connection, length
MAX_PIECE = frames.HEADER.size + frames.MAX_DATA
"""Bytes of one piece: the largest ttrpc frame, as the Go implementation cuts them."""
FIRST_PIECE = 4096
"""Bytes of a ttrpc frame that go ahead of its rest. A Go plugin reads frames through a buffer of that size and fails on
a piece that does not fit; the rest it reads at once, wherever it ends. Its queue of 256 pieces forbids to cut small."""


class BadPiece(Exception):
    """The peer does not speak the multiplexer's language; the connection is of no more use."""


class PieceReader:
    """Takes a byte stream apart, however it was cut on its way. It keeps no more than an unfinished header."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._connection = 0
        self._missing = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Which bytes belong to which connection, in order. Raises BadPiece; then feed no more."""
        rest, found = memoryview(data), []
        while rest:
            if self._missing:
                found.append((self._connection, bytes(rest[: self._missing])))
                rest, self._missing = rest[self._missing :], self._missing - len(found[-1][1])
            else:
                rest = self._read_header(rest)
        return found

    def _read_header(self, rest: memoryview) -> memoryview:
        wanted = HEADER.size - len(self._header)
        self._header += rest[:wanted]
        if len(self._header) == HEADER.size:
            self._connection, self._missing = HEADER.unpack(self._header)
            self._header.clear()
            if self._missing > MAX_PIECE:
                raise BadPiece(f"piece of {self._missing} bytes, limit {MAX_PIECE}")
        return rest[wanted:]


def pieces(connection: int, frame: bytes) -> bytes:
    """A whole ttrpc `frame` on its way through `connection`."""
    return b"".join(
        HEADER.pack(connection, len(part)) + part for part in (frame[:FIRST_PIECE], frame[FIRST_PIECE:]) if part
    )
