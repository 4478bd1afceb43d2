"""Flow control of a SPDY session: what may be sent, and what the peer is told that it may send (draft 3.1, 2.6.8).

Kubernetes' own clients (moby/spdystream) have none: they neither heed a window nor open ours, so a session that waited
for them would stand still after 64 KiB. So the peer's windows count from its first WINDOW_UPDATE or SETTINGS on, and
what a peer sends beyond ours is held back by not reading from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cri.streaming.spdy.frames import ProtocolError

DEFAULT_WINDOW = 64 << 10
"""Bytes, of a stream and of the session, until somebody says otherwise (sections 2.6.8 and 2.6.4)."""
SESSION_WINDOW = 1 << 20
"""Bytes that a peer may send ahead of those who read, on all streams together."""
STREAM_WINDOW = 256 << 10
"""Bytes that a peer may send ahead on one stream: one that stands still leaves room for the others."""
MAX_WINDOW = 2**31 - 1


@dataclass(slots=True, kw_only=True)
class Window:
    """Both directions, of one stream or of the session."""

    size: int
    """Bytes that the peer takes now; below 0 when it has lowered it."""
    ours: int
    """Bytes that the peer may send ahead."""
    credit: int = 0
    """Bytes that were read here and not told to the peer."""

    def consume(self, size: int) -> int:
        """Bytes to tell to the peer now that `size` more were read: one frame for many reads, so mostly 0."""
        self.credit += size
        if self.credit < self.ours // 2:
            return 0
        credit, self.credit = self.credit, 0
        return credit


class Windows:
    """The session's, and what new streams begin with."""

    def __init__(self) -> None:
        self.session = Window(size=DEFAULT_WINDOW, ours=SESSION_WINDOW)
        self._initial = DEFAULT_WINDOW
        self._count = False
        """Whether the peer has any."""

    def of_stream(self) -> Window:
        return Window(size=self._initial, ours=STREAM_WINDOW)

    def room(self, window: Window) -> int:
        """Bytes that may be sent on the stream of `window` now."""
        return max(0, min(window.size, self.session.size)) if self._count else MAX_WINDOW

    def sent(self, window: Window, size: int) -> None:
        window.size -= size
        self.session.size -= size

    def widen(self, window: Window, delta: int) -> bool:
        """The peer takes `delta` more; False when that is more than the protocol has."""
        self._count = True
        window.size += delta
        return window.size <= MAX_WINDOW

    def set_initial(self, size: int, streams: Iterable[Window]) -> None:
        """The peer's SETTINGS, which change the windows of open streams, too. Raises ProtocolError."""
        if size > MAX_WINDOW:
            raise ProtocolError(f"initial window of {size} bytes")
        self._count = True
        for window in streams:
            window.size += size - self._initial
        self._initial = size
