"""Where zstd frames end (RFC 8878, section 3.1), which the library's streaming reader does not tell.

Only lengths are looked at, one small header per block of up to 128 KiB; the library decompresses. Without this a layer
that was cut off would look like a shorter one.
"""

from __future__ import annotations

import struct
from collections.abc import Generator

from core.errdefs import DataLoss

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = tuple(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))

_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_DICTIONARY_BYTES = (0, 1, 2, 4)
_LAST_BLOCK, _RLE_BLOCK = 1, 1
_CHECKSUM_BYTES = 4


class FrameTracker:
    """Fed with all compressed bytes in order, it knows whether a frame has just ended."""

    def __init__(self) -> None:
        self._walk = _walk()
        self._wanted = next(self._walk)
        self._pending = b""
        self.is_between_frames = True

    def feed(self, data: bytes) -> None:
        """Raises DataLoss when a frame starts with something else."""
        at = 0
        while at < len(data):
            self.is_between_frames = False
            if self._wanted < 0:  # so many bytes to be passed over
                step = min(-self._wanted, len(data) - at)
                at += step
                self._wanted += step
                if not self._wanted:
                    self._next(b"")
                continue
            step = min(self._wanted - len(self._pending), len(data) - at)
            self._pending += data[at : at + step]
            at += step
            if len(self._pending) == self._wanted:
                pending, self._pending = self._pending, b""
                self._next(pending)

    def _next(self, data: bytes) -> None:
        self._wanted = self._walk.send(data)
        while not self._wanted:  # the end of a frame
            self.is_between_frames = True
            self._wanted = self._walk.send(b"")


def _walk() -> Generator[int, bytes, None]:
    """Yields how many bytes to send, as a negative number how many to pass over, and 0 at the end of each frame."""
    while True:
        magic = yield 4
        if magic in SKIPPABLE:
            (size,) = struct.unpack("<I", (yield 4))
            if size:
                yield -size
        elif magic == MAGIC:
            yield from _frame()
        else:
            raise DataLoss(f"zstd: {magic.hex()} where a frame must begin")
        yield 0


def _frame() -> Generator[int, bytes, None]:
    descriptor = (yield 1)[0]
    is_single_segment = descriptor >> 5 & 1
    content_size = _CONTENT_SIZE_BYTES[descriptor >> 6] or is_single_segment
    if rest := (not is_single_segment) + _DICTIONARY_BYTES[descriptor & 3] + content_size:
        yield -rest
    last = 0
    while not last:
        block = int.from_bytes((yield 3), "little")
        last = block & _LAST_BLOCK
        if size := 1 if block >> 1 & 3 == _RLE_BLOCK else block >> 3:
            yield -size
    if descriptor >> 2 & 1:
        yield -_CHECKSUM_BYTES
