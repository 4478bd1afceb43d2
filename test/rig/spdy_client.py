"""A SPDY/3.1 client that blocks, and that sends what it is told to, wrong things included.

Like the clients of Kubernetes it has no flow control of its own, unless a test sends the frames of it.
"""

from __future__ import annotations

import socket
import ssl
import urllib.parse
from collections import defaultdict
from typing import Self

from cri.streaming.spdy.frames import Data, Frame, GoAway, Ping, RstStream, SynReply, SynStream, WindowUpdate
from cri.streaming.spdy.headers import HeaderWriter
from cri.streaming.spdy.reader import FrameReader


def request(url: str, headers: dict[str, str], method: str = "POST") -> bytes:
    parts = urllib.parse.urlsplit(url)
    lines = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def upgrade(*protocols: str) -> dict[str, str]:
    return {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": ", ".join(protocols)}


class HttpClient:
    """One request on one connection, and what follows it."""

    def __init__(self, url: str, timeout: float = 10) -> None:
        parts = urllib.parse.urlsplit(url)
        assert parts.hostname and parts.port
        self.url = url
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as Go's clients do
        if parts.scheme == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.rest = b""

    def ask(self, headers: dict[str, str], method: str = "POST") -> tuple[int, dict[str, str]]:
        """Send the request; the status of the answer and its headers, in lower case."""
        self.socket.sendall(request(self.url, headers, method))
        return self.answer()

    def answer(self) -> tuple[int, dict[str, str]]:
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.socket.recv(65536)
            assert more, f"no answer, only {head!r}"
            head += more
        head, _, self.rest = head.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}

    def closed(self) -> bool:
        """Whether the server hangs up, in whatever way, before it is silent for the time out."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SpdyClient(HttpClient):
    """A session; what has come is kept by stream."""

    def __init__(self, url: str, *protocols: str, timeout: float = 10) -> None:
        super().__init__(url, timeout)
        status, self.headers = self.ask(upgrade(*protocols))
        assert status == 101, (status, self.headers)
        self.names = HeaderWriter()
        self.reader = FrameReader()
        self.next_id = 1
        self.data: defaultdict[int, bytearray] = defaultdict(bytearray)
        self.replied: set[int] = set()
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.pongs: list[int] = []
        self.credit: defaultdict[int, int] = defaultdict(int)
        self.gone: GoAway | None = None
        self.lost = False

    def send(self, *frames: Data | SynStream | Ping | RstStream | WindowUpdate) -> None:
        self.socket.sendall(b"".join(frame.encode() for frame in frames))

    def open(self, **headers: str) -> int:
        """Open a stream and wait for the reply to it, or its refusal."""
        stream_id, self.next_id = self.next_id, self.next_id + 2
        self.send(SynStream(stream_id=stream_id, block=self.names.write(headers)))
        self.until(lambda: stream_id in self.replied or stream_id in self.reset)
        return stream_id

    def forward(self, port: int, request: int) -> tuple[int, int]:
        """The error stream and the data stream of a forwarded connection."""
        error = self.open(streamtype="error", port=str(port), requestid=str(request))
        self.send(Data(stream_id=error, fin=True))
        return error, self.open(streamtype="data", port=str(port), requestid=str(request))

    def until(self, condition: object) -> None:
        """Receive until `condition()` holds. Fails when the server hangs up before, or is silent."""
        assert callable(condition)
        while not condition():
            assert not self.lost, "the server hung up"
            self.step()

    def until_ended(self, *streams: int) -> None:
        self.until(lambda: all(stream in self.ended or stream in self.reset for stream in streams))

    def step(self) -> None:
        data, self.rest = self.rest or self.socket.recv(1 << 16), b""
        self.lost = not data
        for frame in self.reader.feed(data):
            self._received(frame)

    def _received(self, frame: Frame) -> None:
        match frame:
            case Data():
                self.data[frame.stream_id] += frame.data
                if frame.fin:
                    self.ended.add(frame.stream_id)
            case SynReply():
                self.replied.add(frame.stream_id)
            case RstStream():
                self.reset[frame.stream_id] = frame.status
            case Ping():
                self.pongs.append(frame.id)
            case WindowUpdate():
                self.credit[frame.stream_id] += frame.delta
            case GoAway():
                self.gone = frame
