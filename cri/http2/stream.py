"""One request and its response, as windows and frames see them."""

from __future__ import annotations

from cri.http2.frames import ConnectionFailed, Error, Flag, Type, frame, rst_stream

WINDOW = 1 << 20
"""Bytes of a request's body that may come before somebody has taken them: more than almost any message has."""
MAX_WINDOW = 0x7FFF_FFFF
"""RFC 9113, section 6.9.1."""


class Stream:
    """What the client has sent and taken of one stream. Its connection tells how much it may send."""

    __slots__ = ("_queue", "_room", "_send_window", "_taken", "_trailers", "answered", "ended", "id")

    def __init__(self, stream_id: int, send_window: int, *, ended: bool) -> None:
        self.id = stream_id
        self.ended = ended
        """Whether the client has sent all of its request."""
        self.answered = False
        """Whether the end of the response is on its way."""
        self._send_window = send_window
        self._room = WINDOW
        self._taken = 0
        """Bytes for which the client was given no new room yet."""
        self._queue = bytearray()
        self._trailers = b""

    @property
    def unsent(self) -> int:
        """Bytes that wait for the client's windows."""
        return len(self._queue)

    @property
    def waits(self) -> bool:
        """Whether something is to be sent still."""
        return bool(self._queue or self._trailers)

    def received(self, size: int, *, ended: bool) -> None:
        """The client has sent so many bytes. Raises ConnectionFailed when it may not."""
        self._room -= size
        if self._room < 0:
            raise ConnectionFailed(Error.FLOW_CONTROL_ERROR, f"more data than the window of stream {self.id}")
        if self.ended:
            raise ConnectionFailed(Error.STREAM_CLOSED, f"stream {self.id} goes on after its end")
        self.ended = ended

    def consumed(self, size: int) -> int:
        """`size` bytes were taken; how many the client is to be told of, when that is worth a frame."""
        self._taken += size
        if self.ended or self._taken < WINDOW // 2:
            return 0
        told, self._taken = self._taken, 0
        self._room += told
        return told

    def widen(self, increment: int) -> None:
        """The client takes so many bytes more. Raises ConnectionFailed."""
        self._send_window += increment
        if self._send_window > MAX_WINDOW:
            raise ConnectionFailed(Error.FLOW_CONTROL_ERROR, f"a window of more than 2 GiB on stream {self.id}")

    def put(self, data: bytes) -> None:
        """Queue a part of the body."""
        self._queue += data

    def finish(self, trailers: bytes) -> None:
        """Queue the end: a header block."""
        self._trailers = trailers

    def take(self, window: int, max_frame: int) -> tuple[bytes, int]:
        """The frames that may be sent when the connection has `window` bytes left, and how many of these they use."""
        data = bytes(self._queue[: max(0, min(window, self._send_window))])
        del self._queue[: len(data)]
        self._send_window -= len(data)
        frames = [
            frame(Type.DATA, 0, self.id, data[start : start + max_frame]) for start in range(0, len(data), max_frame)
        ]
        if self._trailers and not self._queue:
            frames.append(frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, self.id, self._trailers))
            if not self.ended:  # nobody wants the rest of the request (section 8.1)
                frames.append(rst_stream(self.id, Error.NO_ERROR))
            self._trailers, self.answered = b"", True
        return b"".join(frames), len(data)
