"""Layers are compressed as their first bytes say, whatever their media type says (RFC 1952, RFC 8878)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, cast

import zstandard
from isal import igzip_lib

from core.diff import zstd_frames
from core.diff.source import Source
from core.errdefs import DataLoss

PIECE = 1 << 20  # bytes handed on at once at most: what a bomb can occupy, times the pieces that are read ahead
READ = 1 << 18  # compressed bytes read at once
MAX_WINDOW = 128 << 20  # bytes: what `zstd` accepts without --long=31; a frame may ask for 2 GiB and more

GZIP = b"\x1f\x8b\x08"
_MAGIC = 4
_GZIP_ERROR = cast("type[Exception]", igzip_lib.IsalError)  # its stub calls the class an instance


def decompress(source: Source) -> Iterator[bytes]:
    """Yield what `source` holds, decompressed, in pieces of at most PIECE bytes. Raises DataLoss when it is damaged."""
    head = b""
    while len(head) < _MAGIC and (data := source.read(READ)):
        head += data
    if head.startswith(GZIP):
        return _gunzip(head, source)
    if head.startswith((zstd_frames.MAGIC, *zstd_frames.SKIPPABLE)):
        return _unzstd(head, source)
    return _plain(head, source)


def _plain(head: bytes, source: Source) -> Iterator[bytes]:
    while head:
        yield head
        head = source.read(PIECE)


def _gunzip(data: bytes, source: Source) -> Iterator[bytes]:
    """All members of a gzip stream, which may be many (estargz, pigz); what follows the last one must be nothing."""
    while data:
        member = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
        while not member.eof:
            if member.needs_input and not data and not (data := source.read(READ)):
                raise DataLoss("gzip: the layer ends in the middle of its data")
            try:
                piece = member.decompress(data, PIECE)
            except _GZIP_ERROR as exc:
                raise DataLoss(f"gzip: {exc}") from exc
            data = b""
            if piece:
                yield piece
        data = member.unused_data or source.read(READ)


class _Frames:
    """The bytes already read to learn the format, and then the rest, with an eye on where the frames end."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source
        self._tracker = zstd_frames.FrameTracker()

    def read(self, size: int = -1, /) -> bytes:
        """Raises DataLoss when the source ends inside a frame."""
        data, self._head = self._head, b""
        data = data or self._source.read(size)  # the head is no longer than what the reader asks for
        if not data and not self._tracker.is_between_frames:
            raise DataLoss("zstd: the layer ends in the middle of its data")
        self._tracker.feed(data)
        return data


def _unzstd(head: bytes, source: Source) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    frames = cast("BinaryIO", _Frames(head, source))  # read() is all that it is asked for
    with decompressor.stream_reader(frames, read_size=READ, read_across_frames=True) as reader:
        try:
            while piece := reader.read(PIECE):
                yield piece
        except zstandard.ZstdError as exc:
            raise DataLoss(f"{exc}") from exc
