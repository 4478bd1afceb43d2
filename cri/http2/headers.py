"""Header blocks: put together from their frames, and unpacked (RFC 9113 section 4.3, RFC 7541)."""

from __future__ import annotations

from dataclasses import dataclass

import hpack

from cri.http2.events import Headers
from cri.http2.frames import ConnectionFailed, Error, Flag

MAX_HEADERS = 64 << 10
"""Bytes of a request's headers, packed and unpacked; gRPC's own default is 8 KiB."""
MAX_CONTINUATIONS = 8
"""Frames that one block may go on in: twice what MAX_HEADERS needs (CONTINUATION floods, CVE-2023-45288)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A header block that is whole."""

    stream_id: int
    headers: Headers
    ended: bool
    """Whether nothing comes after it on its stream."""


class HeaderReader:
    """Those of one connection, in their order: each builds on the table that the ones before have left."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(MAX_HEADERS)
        self._stream_id = 0
        self._flags = 0
        self._data = b""
        self._continuations = 0

    @property
    def is_open(self) -> bool:
        """Whether the next frame must go on with a block."""
        return self._stream_id != 0

    def begin(self, flags: int, stream_id: int, payload: bytes) -> Block | None:
        """HEADERS, without padding. Here and below: the block, if it is whole. Raises ConnectionFailed."""
        self._stream_id, self._flags, self._data, self._continuations = stream_id, flags, b"", 0
        return self._add(flags, payload)

    def go_on(self, flags: int, stream_id: int, payload: bytes) -> Block | None:
        """CONTINUATION."""
        if stream_id != self._stream_id:
            raise ConnectionFailed(Error.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._continuations += 1
        if self._continuations > MAX_CONTINUATIONS:
            raise ConnectionFailed(Error.ENHANCE_YOUR_CALM, "a header block in too many frames")
        return self._add(flags, payload)

    def _add(self, flags: int, payload: bytes) -> Block | None:
        self._data += payload
        if len(self._data) > MAX_HEADERS:
            raise ConnectionFailed(Error.ENHANCE_YOUR_CALM, f"headers of more than {MAX_HEADERS} bytes")
        if not flags & Flag.END_HEADERS:
            return None
        stream_id, self._stream_id = self._stream_id, 0
        try:
            headers = [(field[0], field[1]) for field in self._decoder.decode(self._data, raw=True)]
        except hpack.HPACKError as exc:
            raise ConnectionFailed(Error.COMPRESSION_ERROR, str(exc)) from exc
        return Block(stream_id=stream_id, headers=headers, ended=bool(self._flags & Flag.END_STREAM))
