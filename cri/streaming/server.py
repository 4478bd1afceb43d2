"""The streaming server: the kubelet gets a URL for each Exec, Attach and PortForward and hands it, or a proxy to it, to
its client. The token at the end of the URL is what the request waits under.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from core.errdefs import FailedPrecondition
from core.log import get_logger
from cri import api
from cri.streaming.deps import StreamingDeps
from cri.streaming.http import HEAD_TIMEOUT, Exchange, Refused
from cri.streaming.http import Request as HttpRequest
from cri.streaming.portforward.serve import serve_port_forward
from cri.streaming.remotecommand.serve import serve_remote_command
from cri.streaming.tls import Certificates, TlsFiles
from cri.streaming.tokens import Tokens
from cri.streaming.wire import READ

log = get_logger(__name__)

MAX_STRANGERS = 128
"""Clients that have not shown a token yet, at a time; each has HEAD_TIMEOUT for it. More are hung up on at once."""

Request = api.ExecRequest | api.AttachRequest | api.PortForwardRequest

_KINDS: Mapping[type[Request], str] = {
    api.ExecRequest: "exec",
    api.AttachRequest: "attach",
    api.PortForwardRequest: "portforward",
}
_PATH = re.compile("/(exec|attach|portforward)/([A-Za-z0-9_-]{1,64})")
_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where the kubelet, on this node, reaches a server that listens on all addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    address: str
    port: int
    """0: any free one."""
    tls: TlsFiles | None = None


class StreamingServer:
    """Open from `start` to `stop`."""

    def __init__(self, deps: StreamingDeps, listen: Listen) -> None:
        self._deps = deps
        self._listen = listen
        self._tokens: Tokens[Request] = Tokens(time.monotonic)
        self._clients: set[asyncio.Task[None]] = set()
        self.strangers = 0
        """Clients that have not shown a token yet."""
        self._server: asyncio.Server | None = None
        self._base = ""

    async def start(self) -> None:
        """Listen. Raises FailedPrecondition (address, certificate)."""
        where, tls = self._listen, self._listen.tls
        context = Certificates(tls).context if tls else None
        try:
            self._server = await asyncio.start_server(
                self._accept,
                where.address,
                where.port,
                limit=READ,
                ssl=context,
                ssl_handshake_timeout=HEAD_TIMEOUT if tls else None,
            )
        except OSError as exc:
            raise FailedPrecondition(f"streaming address {where.address}:{where.port}: {exc.strerror}") from exc
        host = _WILDCARDS.get(where.address, where.address)
        port = self._server.sockets[0].getsockname()[1]
        self._base = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def stop(self) -> None:
        """Take no more clients and hang up on those that are there."""
        if self._server:
            self._server.close()
        for task in self._clients:
            task.cancel()
        if self._clients:
            await asyncio.wait(self._clients)

    def url(self, request: Request) -> str:
        """Where a client gets what was checked and asked for in `request`, once, within a minute.

        Raises ResourceExhausted.
        """
        return f"{self._base}/{_KINDS[type(request)]}/{self._tokens.add(request)}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.strangers >= MAX_STRANGERS:
            writer.transport.abort()
            return
        self.strangers += 1
        task = asyncio.get_running_loop().create_task(self._serve(Exchange(reader, writer)))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, exchange: Exchange) -> None:
        try:
            request = await self._welcome(exchange)
            if request is not None:
                await self._do(exchange, request)
        except (EOFError, TimeoutError):
            await exchange.abandon()
        except Exception:
            log.exception("streaming failed")
            await exchange.abandon()

    async def _welcome(self, exchange: Exchange) -> Request | None:
        """What the client may have; None for one that was refused. Raises EOFError (gone), TimeoutError."""
        try:
            await exchange.read(self._deps.head_timeout)
            return self._redeem(exchange.request)
        except Refused as refused:
            await exchange.refuse(refused)
            return None
        finally:
            self.strangers -= 1

    def _redeem(self, request: HttpRequest) -> Request:
        """What the token in the URL stands for, which is used up. Raises Refused."""
        if request.method not in ("GET", "POST"):
            raise Refused(405, "want GET or POST", [("Allow", "GET, POST")])
        found = _PATH.fullmatch(request.path)
        wanted = self._tokens.take(found[2]) if found else None
        if wanted is None or not found or _KINDS[type(wanted)] != found[1]:
            raise Refused(404, "no such stream: a URL is good for one client, within a minute")
        return wanted

    async def _do(self, exchange: Exchange, request: Request) -> None:
        try:
            if isinstance(request, api.PortForwardRequest):
                await serve_port_forward(self._deps, exchange, request)
            else:
                await serve_remote_command(self._deps, exchange, request)
        except Refused as refused:
            await exchange.refuse(refused)
