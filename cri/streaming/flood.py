"""Frames that carry nothing, counted: a few keep a connection alive, thousands a second are an attack."""

from __future__ import annotations

from collections.abc import Callable

MAX_IDLE_FRAMES = 2000
"""In one second: pings, settings, resets, refused streams, empty data. Clients send a ping every few seconds and one
reset per connection (CVE-2026-35469; CVE-2019-9512, 9514, 9515 and 9518 are the same floods in HTTP/2)."""


class IdleFrames:
    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` in seconds, monotonic."""
        self._clock = clock
        self._count, self._since = 0, clock()

    def flood(self) -> bool:
        """Count one more; whether they are too many now."""
        now = self._clock()
        if now - self._since >= 1:
            self._count, self._since = 0, now
        self._count += 1
        return self._count > MAX_IDLE_FRAMES
