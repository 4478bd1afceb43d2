"""The server's side of a SPDY/3.1 session: bytes in, events out; calls in, bytes out; no socket.

    stream   SYN_STREAM ─▶ open ─▶ FIN of one side ─▶ FIN of the other ─▶ gone       RST_STREAM of either: gone at once

Windows. We tell the peer ours. Kubernetes' own clients (moby/spdystream) have no flow control at all: they neither heed
a window nor open ours, so a session that waited for them would stand still after 64 KiB. So the peer's windows count
from its first WINDOW_UPDATE or SETTINGS on, and what a peer sends beyond ours is held back by not reading from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cri.streaming.flood import IdleFrames
from cri.streaming.spdy.frames import (
    Data,
    Frame,
    FrameReader,
    GoAway,
    Headers,
    Ping,
    ProtocolError,
    RstStream,
    Setting,
    Settings,
    Status,
    SynReply,
    SynStream,
    Unknown,
    WindowUpdate,
    data_head,
)
from cri.streaming.spdy.headers import HeaderReader, HeaderWriter

MAX_STREAMS = 4096
"""Open at a time: 2,048 forwarded connections, or one exec of five. The others are refused (CVE-2026-35469)."""
DEFAULT_WINDOW = 64 << 10
"""Bytes, of a stream and of the session, until somebody says otherwise (sections 2.6.8 and 2.6.4)."""
SESSION_WINDOW = 1 << 20
"""Bytes that a peer may send ahead of those who read, on all streams together."""
STREAM_WINDOW = 256 << 10
"""Bytes that a peer may send ahead on one stream: one that stands still leaves room for the others."""
MAX_WINDOW = 2**31 - 1
SESSION = 0
"""The stream id by which WINDOW_UPDATE means the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened:
    stream_id: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReceived:
    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnded:
    """The peer sends nothing more on the stream."""

    stream_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReset:
    """The peer has ended the stream both ways."""

    stream_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOpened:
    """Something may be sent again, on this or, with SESSION, on any stream."""

    stream_id: int


Event = StreamOpened | DataReceived | StreamEnded | StreamReset | WindowOpened


@dataclass(slots=True, kw_only=True)
class _Stream:
    window: int
    """Bytes that the peer takes now; below 0 when it has lowered it."""
    credit: int = 0
    """Bytes that were read from us and not told to the peer."""
    sent_fin: bool = False
    got_fin: bool = False


class Session:
    """After ProtocolError from `receive` only `take` is of use: it has the GOAWAY that says so."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` in seconds, monotonic."""
        self._idle_frames = IdleFrames(clock)
        self._reader = FrameReader()
        self._headers_in, self._headers_out = HeaderReader(), HeaderWriter()
        self._out: list[bytes] = []
        self._streams: dict[int, _Stream] = {}
        self._last_stream = 0
        self._initial_window = DEFAULT_WINDOW
        self._session = _Stream(window=DEFAULT_WINDOW)
        self._windows_count = False
        self._gone = False
        self._received: Mapping[type[Frame], Callable[..., list[Event]]] = {
            Data: self._data,
            SynStream: self._opened,
            SynReply: self._more_headers,
            Headers: self._more_headers,
            RstStream: self._reset_by_peer,
            Settings: self._settings,
            Ping: self._ping,
            GoAway: self._ignored,
            WindowUpdate: self._window_update,
            Unknown: self._ignored,
        }
        ours: Mapping[int, int] = {
            Setting.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        }
        self._send(Settings(values=ours))
        self._send(WindowUpdate(stream_id=SESSION, delta=SESSION_WINDOW - DEFAULT_WINDOW))

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    def take(self) -> list[bytes]:
        """What is to be sent now, once."""
        out, self._out = self._out, []
        return out

    def receive(self, data: bytes) -> Iterator[Event]:
        """Take bytes from the peer and yield what they mean. Raises ProtocolError: the session is over."""
        try:
            for frame in self._reader.feed(data):
                yield from self._received[type(frame)](frame)
        except ProtocolError:
            self.go_away(Status.PROTOCOL_ERROR)
            raise

    def reply(self, stream_id: int) -> None:
        """Accept a stream that was opened."""
        if stream_id in self._streams:
            self._send(SynReply(stream_id=stream_id, block=self._headers_out.write({})))

    def refuse(self, stream_id: int) -> None:
        """Turn down a stream that was opened. Raises ProtocolError when too many had to be."""
        self.reset(stream_id, Status.REFUSED_STREAM)
        try:
            self._idle_frame()
        except ProtocolError:
            self.go_away(Status.PROTOCOL_ERROR)
            raise

    def window(self, stream_id: int) -> int:
        """Bytes that may be sent on the stream now; 0 also when it is gone."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.sent_fin:
            return 0
        return max(0, min(stream.window, self._session.window)) if self._windows_count else MAX_WINDOW

    def alive(self, stream_id: int) -> bool:
        """Whether either side may still send on the stream."""
        return stream_id in self._streams

    def writable(self, stream_id: int) -> bool:
        """Whether anything may be sent on the stream, now or once its window opens."""
        stream = self._streams.get(stream_id)
        return stream is not None and not stream.sent_fin

    def send(self, stream_id: int, data: bytes) -> None:
        """Send `data`, at most `window` bytes of it."""
        stream = self._streams[stream_id]
        stream.window -= len(data)
        self._session.window -= len(data)
        self._out += (data_head(stream_id, len(data), fin=False), data)

    def finish(self, stream_id: int) -> None:
        """Say that nothing more is sent on the stream. Idempotent."""
        if self.writable(stream_id):
            stream = self._streams[stream_id]
            stream.sent_fin = True
            self._out.append(data_head(stream_id, 0, fin=True))
            self._forget_closed(stream_id, stream)

    def reset(self, stream_id: int, status: Status = Status.CANCEL) -> None:
        """End the stream both ways, for the peer's sake too. Success when it is gone."""
        if self._streams.pop(stream_id, None):
            self._send(RstStream(stream_id=stream_id, status=status))

    def consumed(self, stream_id: int, size: int) -> None:
        """`size` bytes that came on the stream are no longer held here: the peer may send as many more."""
        self._credit(SESSION, self._session, size, SESSION_WINDOW)
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.got_fin:
            self._credit(stream_id, stream, size, STREAM_WINDOW)

    def go_away(self, status: int = 0) -> None:
        """Take no more streams."""
        if not self._gone:
            self._gone = True
            self._send(GoAway(last_stream_id=self._last_stream, status=1 if status else 0))

    def _send(self, frame: SynReply | RstStream | Settings | Ping | GoAway | WindowUpdate) -> None:
        self._out.append(frame.encode())

    def _credit(self, stream_id: int, stream: _Stream, size: int, window: int) -> None:
        stream.credit += size
        if stream.credit >= window // 2:  # one frame for many reads
            self._send(WindowUpdate(stream_id=stream_id, delta=stream.credit))
            stream.credit = 0

    def _ping(self, frame: Ping) -> list[Event]:
        self._idle_frame()
        if frame.id % 2:  # an even one is the answer to a ping of ours, and we send none
            self._send(frame)
        return []

    def _reset_by_peer(self, frame: RstStream) -> list[Event]:
        self._idle_frame()
        return [StreamReset(stream_id=frame.stream_id)] if self._streams.pop(frame.stream_id, None) else []

    def _more_headers(self, frame: SynReply | Headers) -> list[Event]:
        self._idle_frame()
        self._headers_in.read(frame.block)  # of no use to us, but part of the compression
        return self._fin(frame.stream_id) if frame.fin else []

    def _ignored(self, _frame: GoAway | Unknown) -> list[Event]:
        self._idle_frame()  # GOAWAY ends nothing that is under way
        return []

    def _data(self, frame: Data) -> list[Event]:
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            if frame.stream_id > self._last_stream:
                raise ProtocolError(f"data on stream {frame.stream_id}, which was never opened")
            self._credit(SESSION, self._session, len(frame.data), SESSION_WINDOW)  # of a stream that we have reset
            return []
        if stream.got_fin:
            self._credit(SESSION, self._session, len(frame.data), SESSION_WINDOW)
            self.reset(frame.stream_id, Status.STREAM_ALREADY_CLOSED)
            return [StreamReset(stream_id=frame.stream_id)]
        if not frame.data and not frame.fin:
            self._idle_frame()
        events: list[Event] = [DataReceived(stream_id=frame.stream_id, data=frame.data)] if frame.data else []
        return events + (self._fin(frame.stream_id) if frame.fin else [])

    def _opened(self, frame: SynStream) -> list[Event]:
        headers = self._headers_in.read(frame.block)  # before any refusal: part of the compression
        if frame.stream_id % 2 == 0 or frame.stream_id <= self._last_stream:
            raise ProtocolError(f"stream {frame.stream_id} after {self._last_stream}: clients count up in odd numbers")
        self._last_stream = frame.stream_id
        if self._gone or len(self._streams) >= MAX_STREAMS:
            self._idle_frame()
            self._send(RstStream(stream_id=frame.stream_id, status=Status.REFUSED_STREAM))
            return []
        self._streams[frame.stream_id] = _Stream(window=self._initial_window)
        opened = StreamOpened(stream_id=frame.stream_id, headers=headers)
        return [opened, *(self._fin(frame.stream_id) if frame.fin else [])]

    def _fin(self, stream_id: int) -> list[Event]:
        stream = self._streams.get(stream_id)
        if stream is None or stream.got_fin:
            return []
        stream.got_fin = True
        self._forget_closed(stream_id, stream)
        return [StreamEnded(stream_id=stream_id)]

    def _forget_closed(self, stream_id: int, stream: _Stream) -> None:
        if stream.sent_fin and stream.got_fin:
            del self._streams[stream_id]

    def _window_update(self, frame: WindowUpdate) -> list[Event]:
        self._windows_count = True
        stream = self._session if frame.stream_id == SESSION else self._streams.get(frame.stream_id)
        if stream is None:
            return []
        stream.window += frame.delta
        if stream.window <= MAX_WINDOW:
            return [WindowOpened(stream_id=frame.stream_id)]
        if frame.stream_id == SESSION:
            raise ProtocolError("the session's window exceeds 2 GiB")
        self.reset(frame.stream_id, Status.FLOW_CONTROL_ERROR)
        return [StreamReset(stream_id=frame.stream_id)]

    def _settings(self, frame: Settings) -> list[Event]:
        self._idle_frame()
        window = frame.values.get(Setting.INITIAL_WINDOW_SIZE)
        if window is None:
            return []
        if window > MAX_WINDOW:
            raise ProtocolError(f"initial window of {window} bytes")
        self._windows_count = True
        change, self._initial_window = window - self._initial_window, window
        for stream in self._streams.values():
            stream.window += change
        return [WindowOpened(stream_id=SESSION)]

    def _idle_frame(self) -> None:
        """Count a frame that carries nothing. Raises ProtocolError."""
        if self._idle_frames.flood():
            raise ProtocolError("too many frames that carry nothing")
