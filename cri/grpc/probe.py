"""One call from the outside, to know whether anybody answers there."""

from __future__ import annotations

import asyncio

import hpack

from cri.grpc import wire
from cri.grpc.codes import Code
from cri.http2.frames import PREFACE, Flag, FrameReader, Type, frame, settings

_STREAM = 1
_PIECE = 64 << 10


async def ask(address: str, path: str) -> Code:
    """Call `path` with an empty message at the socket `address`, and tell how it ended. Raises OSError, EOFError."""
    reader, writer = await asyncio.open_unix_connection(address)
    try:
        writer.write(
            PREFACE
            + settings({})
            + frame(Type.HEADERS, Flag.END_HEADERS, _STREAM, wire.request(path))
            + frame(Type.DATA, Flag.END_STREAM, _STREAM, wire.message(b""))
        )
        frames, decoder = FrameReader(), hpack.Decoder()
        while data := await reader.read(_PIECE):
            for kind, flags, _, payload in frames.feed(data):
                if kind == Type.HEADERS:
                    headers = dict(decoder.decode(payload, raw=True))
                    if flags & Flag.END_STREAM:
                        return Code(int(headers[b"grpc-status"]))
        raise EOFError(f"{address}: hung up before it had answered")
    finally:
        writer.close()
