"""The one HTTP request of a connection: refused with a status, or upgraded to something else.

Never a redirect: the kubelet would follow it with its credentials (CVE-2020-8559).
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Sequence
from dataclasses import dataclass

import h11

from cri.streaming.wire import READ, SHORT_LINGER, SocketWire, hang_up

MAX_HEAD = 16 << 10
"""Bytes of the request line and headers: Go's clients send some hundred, and proxies add to them."""
HEAD_TIMEOUT = 10.0
"""Seconds for a client to say what it wants, TLS included: it has just been given the URL."""

Headers = Sequence[tuple[str, str]]


class Refused(Exception):
    """The request cannot be served; `status` and the message say why."""

    def __init__(self, status: int, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    """Without the query."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""

    def values(self, name: str) -> list[str]:
        """All values of header `name` (lower case), also those that share a line."""
        lines = [value for key, value in self.headers if key == name]
        return [value for line in lines for part in line.split(",") if (value := part.strip())]

    def upgrades_to(self, protocol: str) -> bool:
        """Whether the client asks for `protocol` (lower case)."""
        asks = any(value.lower() == "upgrade" for value in self.values("connection"))
        return asks and any(value.lower() == protocol for value in self.values("upgrade"))


class Exchange:
    """A connection up to its upgrade or refusal."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self.request = Request(method="", path="", headers=())
        """What the client wants, after `read`."""

    async def read(self, timeout: float) -> None:
        """Read the request. Raises Refused (malformed, too big), EOFError (gone), TimeoutError after `timeout` s."""
        async with asyncio.timeout(timeout):
            while (event := self._next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._read())
        if not isinstance(event, h11.Request):
            raise EOFError("the client hung up")
        self.request = Request(
            method=event.method.decode(),
            path=event.target.decode("latin-1").partition("?")[0],
            headers=tuple((name.decode(), value.decode("latin-1")) for name, value in event.headers),
        )

    def upgrade(self, headers: Headers) -> SocketWire:
        """Answer 101; the connection is the caller's from here on, and bytes that came early are the wire's first.

        Raises Refused when the request has a body.
        """
        if not isinstance(self._next_event(), h11.EndOfMessage):
            raise Refused(400, "a request to upgrade has no body")
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        self._writer.write(self._http.send(h11.InformationalResponse(status_code=101, headers=encoded)) or b"")
        return SocketWire(self._reader, self._writer, self._http.trailing_data[0])

    async def refuse(self, refused: Refused) -> None:
        """Answer with the refusal and hang up: after a failed upgrade no second request (CVE-2018-1002105)."""
        body = f"{refused}\n".encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *refused.headers,
        ]
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            reason = http.HTTPStatus(refused.status).phrase
            response = h11.Response(status_code=refused.status, headers=headers, reason=reason.encode())
            self._writer.write((self._http.send(response) or b"") + (self._http.send(h11.Data(data=body)) or b""))
        await SocketWire(self._reader, self._writer).close(SHORT_LINGER)

    async def abandon(self) -> None:
        """Hang up without an answer."""
        await hang_up(self._writer)

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(READ)
        except OSError:
            return b""

    def _next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as exc:
            raise Refused(exc.error_status_hint, f"malformed request: {exc}") from exc
