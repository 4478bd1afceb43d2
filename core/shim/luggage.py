"""What one worker leaves to the next: a document, and the descriptors that it names by their places.

Whatever has something to leave does so in a method `put_down`, which puts its descriptors in and returns what JSON can
say, and is made of that again by `take_up`. Nothing of it is read by another version: a pod's workers are forks of one
process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

Packed = dict[str, Any]

NONE = -1
"""The place of no descriptor, and no descriptor."""


class Luggage:
    def __init__(self) -> None:
        self.fds: list[int] = []
        self.flags = bytearray()
        """1 for each descriptor that wakes a worker when it is readable."""

    def pack(self, fd: int, *, wakes: bool = False) -> int:
        """The place of `fd`, which stays the caller's; NONE for -1."""
        if fd < 0:
            return NONE
        self.fds.append(fd)
        self.flags.append(wakes)
        return len(self.fds) - 1

    def unpack(self, place: int) -> int:
        """The descriptor at `place`, the caller's from now on; -1 for NONE."""
        return NONE if place == NONE else self.fds[place]

    def close(self, state: Packed) -> None:
        """Put in the document, as the last one: a file in memory."""
        fd = os.memfd_create("crisp-shim", os.MFD_CLOEXEC)
        with open(fd, "wb", closefd=False) as file:
            file.write(json.dumps(state).encode())
        self.pack(fd)

    @classmethod
    def open(cls, fds: Sequence[int]) -> tuple[Luggage, Packed]:
        """What `close` left, from the descriptors that have travelled."""
        luggage = cls()
        *luggage.fds, document = fds
        with open(document, "rb") as file:
            file.seek(0)
            state: Packed = json.load(file)
        return luggage, state
