"""Sizes of the client's terminal: JSON documents one after the other, as client-go writes them."""

from __future__ import annotations

import json

MAX_DOCUMENT = 4 << 10
"""Bytes of one size: it takes thirty."""
MAX_CELLS = 65535
"""winsize has 16 bits for each, tty_ioctl(2)."""


class SizeReader:
    """Cuts a byte stream into sizes."""

    def __init__(self) -> None:
        self._text = ""
        self._decoder = json.JSONDecoder()

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """Add `data`; the sizes that are complete now, width first. Raises ValueError for what is no size."""
        self._text = (self._text + data.decode("ascii")).lstrip()
        sizes = []
        while self._text:
            try:
                document, end = self._decoder.raw_decode(self._text)
            except json.JSONDecodeError:
                if len(self._text) > MAX_DOCUMENT:
                    raise
                break  # the rest of it is to come
            sizes.append(_size(document))
            self._text = self._text[end:].lstrip()
        return sizes


def _size(document: object) -> tuple[int, int]:
    if not isinstance(document, dict):
        raise ValueError("terminal size is no object")
    fields = {str(name).lower(): value for name, value in document.items()}  # Go writes Width and takes width
    width, height = fields.get("width"), fields.get("height")
    if not isinstance(width, int) or not isinstance(height, int):
        raise ValueError("terminal size without width and height")
    if not (0 <= width <= MAX_CELLS and 0 <= height <= MAX_CELLS):
        raise ValueError(f"terminal size {width} x {height}")
    return width, height
