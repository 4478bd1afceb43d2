"""The server's side of a SPDY/3.1 session: bytes in, events out; calls in, bytes out; no socket.

    stream   SYN_STREAM ─▶ open ─▶ FIN of one side ─▶ FIN of the other ─▶ gone       RST_STREAM of either: gone at once

Flow control is in `cri.streaming.spdy.windows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cri.streaming.flood import IdleFrames
from cri.streaming.spdy.events import DataReceived, Event, StreamEnded, StreamOpened, StreamReset, WindowOpened
from cri.streaming.spdy.frames import (
    Data,
    Frame,
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
from cri.streaming.spdy.reader import FrameReader
from cri.streaming.spdy.windows import DEFAULT_WINDOW, SESSION_WINDOW, STREAM_WINDOW, Window, Windows

MAX_STREAMS = 4096
"""Open at a time: 2,048 forwarded connections, or one exec of five. The others are refused (CVE-2026-35469)."""
SESSION = 0
"""The stream id by which WINDOW_UPDATE means the session."""


@dataclass(slots=True, kw_only=True)
class _Stream:
    window: Window
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
        self._windows = Windows()
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
        self._idle_frame()

    def window(self, stream_id: int) -> int:
        """Bytes that may be sent on the stream now; 0 also when it is gone."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.sent_fin:
            return 0
        return self._windows.room(stream.window)

    def alive(self, stream_id: int) -> bool:
        """Whether either side may still send on the stream."""
        return stream_id in self._streams

    def writable(self, stream_id: int) -> bool:
        """Whether anything may be sent on the stream, now or once its window opens."""
        stream = self._streams.get(stream_id)
        return stream is not None and not stream.sent_fin

    def send(self, stream_id: int, data: bytes) -> None:
        """Send `data`, at most `window` bytes of it."""
        self._windows.sent(self._streams[stream_id].window, len(data))
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
        self._credit(SESSION, self._windows.session, size)
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.got_fin:
            self._credit(stream_id, stream.window, size)

    def go_away(self, status: int = 0) -> None:
        """Take no more streams."""
        if not self._gone:
            self._gone = True
            self._send(GoAway(last_stream_id=self._last_stream, status=1 if status else 0))

    def _send(self, frame: SynReply | RstStream | Settings | Ping | GoAway | WindowUpdate) -> None:
        self._out.append(frame.encode())

    def _credit(self, stream_id: int, window: Window, size: int) -> None:
        if credit := window.consume(size):
            self._send(WindowUpdate(stream_id=stream_id, delta=credit))

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
            self._credit(SESSION, self._windows.session, len(frame.data))  # of a stream that we have reset
            return []
        if stream.got_fin:
            self._credit(SESSION, self._windows.session, len(frame.data))
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
        self._streams[frame.stream_id] = _Stream(window=self._windows.of_stream())
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
        if frame.stream_id == SESSION:
            if not self._windows.widen(self._windows.session, frame.delta):
                raise ProtocolError("the session's window exceeds 2 GiB")
            return [WindowOpened(stream_id=SESSION)]
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            return []
        if self._windows.widen(stream.window, frame.delta):
            return [WindowOpened(stream_id=frame.stream_id)]
        self.reset(frame.stream_id, Status.FLOW_CONTROL_ERROR)
        return [StreamReset(stream_id=frame.stream_id)]

    def _settings(self, frame: Settings) -> list[Event]:
        self._idle_frame()
        size = frame.values.get(Setting.INITIAL_WINDOW_SIZE)
        if size is None:
            return []
        self._windows.set_initial(size, (stream.window for stream in self._streams.values()))
        return [WindowOpened(stream_id=SESSION)]

    def _idle_frame(self) -> None:
        """Count a frame that carries nothing. Raises ProtocolError."""
        if self._idle_frames.flood():
            self.go_away(Status.PROTOCOL_ERROR)
            raise ProtocolError("too many frames that carry nothing")
