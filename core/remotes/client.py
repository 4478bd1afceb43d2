"""One host of a registry, asked over HTTP: proof, redirects, answers that are errors, transfers that break off.

Errors name neither query strings nor headers, which can hold secrets (signed URLs).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

from multidict import CIMultiDictProxy
from yarl import URL

from core.errdefs import Internal, PermissionDenied, Unavailable
from core.remotes.auth import Login
from core.remotes.authorizer import Authorizer
from core.remotes.challenge import parse_challenges
from core.remotes.failures import Retriable
from core.remotes.hosts import Host, is_loopback
from core.remotes.ranges import Ranges, Read
from core.remotes.responses import faults, has_range, is_success, read_blob, read_limited, refusal
from core.remotes.retry import Limits, Retries

if TYPE_CHECKING:
    import aiohttp

READ_BUFFER = 1 << 20  # bytes that aiohttp gathers, twice at most, while the last piece is being written
MAX_REDIRECTS = 5  # a registry and its storage need one or two
MAX_TOKEN_ANSWER = 1 << 20  # bytes

_REDIRECTS = frozenset((301, 302, 303, 307, 308))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    headers: CIMultiDictProxy[str]
    body: bytes


class HostClient:
    """`host` on behalf of one pull, whose credentials it alone has."""

    max_proofs = 2
    """Of one request: with the token that had run out, and with a new one."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        host: Host,
        *,
        tls: ssl.SSLContext,
        login: Login,
        scope: str,
        limits: Limits,
        split: Callable[[Read, Read], Ranges],
        is_last: bool,
    ) -> None:
        self._session = session
        self._tls = tls
        self._limits = limits
        self._split = split
        self._attempts = limits.attempts if is_last else limits.mirror_attempts
        self._authorizer = Authorizer(self._ask_realm, host.base, login, scope)
        self.host = host

    async def ask(self, method: str, path: str, *, accept: str, limit: int) -> Answer:
        """The whole answer to a GET or HEAD below the API. Raises CrispError; DataLoss above `limit` bytes."""
        retries = Retries(self._limits, self._attempts)
        while True:
            try:
                async with self._open(method, path, {"Accept": accept}) as response:
                    return Answer(headers=response.headers, body=await read_limited(response, limit))
            except Retriable as exc:
                await retries.pause(exc)

    def blob(self, path: str, size: int, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from `offset` on, to its very size, going on where a connection broke off.

        Close it with `aclosing`. Raises DataLoss when the host has more or fewer bytes, and CrispError.
        """
        return self._split(partial(self._stream, path, size), partial(self._help, path, size)).read(offset, size)

    async def _stream(self, path: str, size: int, offset: int, end: int) -> AsyncGenerator[bytes, None]:
        retries = Retries(self._limits, self._attempts)
        while offset < end:
            try:
                async with self._open("GET", path, _range(offset, end, size)) as response:
                    async for data in read_blob(response, size, offset):
                        offset += len(data)
                        retries.progressed()
                        yield data
            except Retriable as exc:
                await retries.pause(exc)

    async def _help(self, path: str, size: int, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """These bytes or none, and without another attempt."""
        async with self._open("GET", path, _range(start, end, size)) as response:
            if not has_range(response, start, end):
                raise Unavailable(f"it does not answer with bytes {start} to {end}")
            async for data in read_blob(response, size, start):
                yield data

    @contextlib.asynccontextmanager
    async def _open(self, method: str, path: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of class 2xx, behind proof and redirects."""
        url = self._url(path)
        with faults():
            async with asyncio.timeout(self._limits.header_timeout):
                response = await self._follow(method, url, headers)
            try:
                yield response
            finally:
                response.release()  # keeps the connection if the body was read to its end, closes it if not

    def _url(self, path: str) -> URL:
        url = self.host.base / path
        return url.with_query(ns=self.host.namespace) if self.host.namespace else url

    def _check_redirect(self, target: URL) -> None:
        """Raises PermissionDenied. Any target will do: the registry names it, and it gets nothing of ours."""

    async def _follow(self, method: str, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        proofs = redirects = 0
        while True:
            ours = url.origin() == self.host.base.origin()
            proof = self._authorizer.header if ours else ""
            response = await self._send(method, url, headers=self._headers(headers, proof, ours))
            if is_success(response):
                return response
            try:
                if response.status in _REDIRECTS and redirects < MAX_REDIRECTS:
                    redirects += 1
                    url = _target(url, response.headers.get("Location", ""))
                    self._check_redirect(url)
                elif response.status == 401 and ours and proofs < self.max_proofs:
                    proofs += 1
                    challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
                    await self._authorizer.answer(challenges, proof)
                else:
                    raise await refusal(response)
            finally:
                response.release()

    def _headers(self, headers: Mapping[str, str], proof: str, ours: bool) -> list[tuple[str, str]]:
        """Nothing that the administrator or the kubelet gave for this host goes to another one."""
        sent = [*headers.items(), ("Accept-Encoding", "identity")]
        if ours:
            sent += self.host.header
        if proof:
            sent.append(("Authorization", proof))
        return sent

    async def _send(
        self, method: str, url: URL, *, headers: list[tuple[str, str]], data: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        import aiohttp  # noqa: PLC0415 - see Registry.repository

        return await self._session.request(
            method,
            url,
            headers=headers,
            data=data,
            allow_redirects=False,
            ssl=self._tls,
            proxy=_proxy(url),
            timeout=aiohttp.ClientTimeout(sock_connect=self.host.dial_timeout, sock_read=self._limits.no_progress),
        )

    async def _ask_realm(self, method: str, url: URL, *, authorization: str, form: dict[str, str] | None) -> bytes:
        headers = self._headers({}, authorization, url.origin() == self.host.base.origin())
        async with await self._send(method, url, headers=headers, data=form) as response:
            if is_success(response):
                return await read_limited(response, MAX_TOKEN_ANSWER)
            raise await refusal(response)


def _range(start: int, end: int, size: int) -> dict[str, str]:
    """RFC 9110, 14.2; none for all of it, which every host understands."""
    if (start, end) == (0, size):
        return {}
    return {"Range": f"bytes={start}-{end - 1 if end < size else ''}"}


def _target(url: URL, location: str) -> URL:
    """Raises Internal (no URL), PermissionDenied (a step down from https)."""
    try:
        target = url.join(URL(location, encoded=True))
        origin, port = target.origin(), target.port
    except ValueError as exc:
        raise Internal("it redirects to what is no URL") from exc
    if not port or origin.scheme not in ("http", "https") or (url.scheme == "https" and origin.scheme != "https"):
        raise PermissionDenied(f"it redirects from {url.scheme} to {origin}: refused")
    return target.with_user(None)


def _proxy(url: URL) -> str | None:
    """By HTTP_PROXY, HTTPS_PROXY, NO_PROXY; never for this machine. (`trust_env` would send what is in .netrc, too.)"""
    host = url.host or ""
    proxies = getproxies()
    if not proxies or is_loopback(host) or proxy_bypass(host):
        return None
    return proxies.get(url.scheme)
