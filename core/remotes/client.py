"""One host of a registry, asked over HTTP: proof, redirects, answers that are errors, transfers that break off.

Errors name neither query strings nor headers, which can hold secrets (signed URLs).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from multidict import CIMultiDictProxy
from yarl import URL

from core.errdefs import CrispError, DataLoss, Internal, NotFound, PermissionDenied, Unauthenticated, Unavailable
from core.remotes.auth import Login
from core.remotes.authorizer import Authorizer
from core.remotes.challenge import parse_challenges
from core.remotes.failures import Retriable, Unreachable
from core.remotes.hosts import Host, is_loopback
from core.remotes.retry import Limits, Retries, retry_after
from core.types import Descriptor

READ_BUFFER = 1 << 20  # bytes that aiohttp gathers, twice at most, while the last piece is being written
MAX_REDIRECTS = 5  # a registry and its storage need one or two
MAX_PROOFS = 2  # of one request: with the token that had run out, and with a new one
MAX_TOKEN_ANSWER = 1 << 20  # bytes
MAX_ERROR_BODY = 64 << 10  # bytes; the peers' limit
_MAX_ERROR_TEXT = 300  # characters of what the host says, which ends up in events of pods

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_RETRIABLE = frozenset((408, 425, 429, 500, 502, 503, 504))
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/")
_CLASSES: Mapping[int, type[CrispError]] = {401: Unauthenticated, 403: PermissionDenied, 404: NotFound}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    headers: CIMultiDictProxy[str]
    body: bytes


class _ErrorItem(msgspec.Struct):
    code: str = ""
    message: str = ""


class _ErrorBody(msgspec.Struct):
    """OCI distribution-spec, Error Codes."""

    errors: tuple[_ErrorItem, ...] = ()


class HostClient:
    """`host` on behalf of one pull, whose credentials it alone has."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        host: Host,
        *,
        tls: ssl.SSLContext,
        login: Login,
        scope: str,
        limits: Limits,
        is_last: bool,
    ) -> None:
        self._session = session
        self._tls = tls
        self._limits = limits
        self._attempts = limits.attempts if is_last else limits.mirror_attempts
        self._authorizer = Authorizer(self._ask_realm, host.base, login, scope)
        self.host = host

    async def ask(self, method: str, path: str, *, accept: str, limit: int) -> Answer:
        """The whole answer to a GET or HEAD below the API. Raises CrispError; DataLoss above `limit` bytes."""
        retries = Retries(self._limits, self._attempts)
        while True:
            try:
                async with self._open(method, path, {"Accept": accept}) as response:
                    return Answer(headers=response.headers, body=await _read(response, limit))
            except Retriable as exc:
                await retries.pause(exc)

    async def blob(self, path: str, descriptor: Descriptor, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes of `descriptor` from `offset` on, to its very size, going on where a connection broke off.

        Raises DataLoss when the host has more or fewer bytes, and CrispError.
        """
        retries = Retries(self._limits, self._attempts)
        while offset < descriptor.size:
            try:
                async with self._open("GET", path, {"Range": f"bytes={offset}-"} if offset else {}) as response:
                    async for data in _body(response, descriptor, offset):
                        offset += len(data)
                        retries.progressed()
                        yield data
            except Retriable as exc:
                await retries.pause(exc)

    @contextlib.asynccontextmanager
    async def _open(self, method: str, path: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of class 2xx, behind proof and redirects."""
        url = self.host.base / path
        if self.host.namespace:
            url = url.with_query(ns=self.host.namespace)
        with _faults():
            async with asyncio.timeout(self._limits.header_timeout):
                response = await self._follow(method, url, headers)
            try:
                yield response
            finally:
                response.release()  # keeps the connection if the body was read to its end, closes it if not

    async def _follow(self, method: str, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        proofs = redirects = 0
        while True:
            ours = url.origin() == self.host.base.origin()
            proof = self._authorizer.header if ours else ""
            response = await self._send(method, url, headers=self._headers(headers, proof, ours))
            if _is_success(response):
                return response
            try:
                if response.status in _REDIRECTS and redirects < MAX_REDIRECTS:
                    redirects += 1
                    url = _target(url, response.headers.get("Location", ""))
                elif response.status == 401 and ours and proofs < MAX_PROOFS:
                    proofs += 1
                    challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
                    await self._authorizer.answer(challenges, proof)
                else:
                    raise await _refusal(response)
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
            if _is_success(response):
                return await _read(response, MAX_TOKEN_ANSWER)
            raise await _refusal(response)


def _is_success(response: aiohttp.ClientResponse) -> bool:
    return response.status // 100 == 2


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


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise DataLoss(f"it answers with more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


async def _body(response: aiohttp.ClientResponse, descriptor: Descriptor, offset: int) -> AsyncIterator[bytes]:
    """The blob from `offset` on, whether or not the host does ranges. Raises DataLoss, Retriable (it ends early)."""
    skip, left = offset - _start(response, descriptor.size, offset), descriptor.size - offset
    async for data in response.content.iter_any():
        fresh = data[skip:] if skip else data
        skip -= len(data) - len(fresh)
        if len(fresh) > left:
            raise DataLoss(f"it sends more than the {descriptor.size} bytes of the descriptor")
        left -= len(fresh)
        if fresh:
            yield fresh
    if left:
        raise Retriable(f"the transfer ended {left} bytes early")


def _start(response: aiohttp.ClientResponse, size: int, offset: int) -> int:
    """Where in the blob the response starts: at `offset` or at 0 (RFC 9110, 14.4). Raises DataLoss for another blob."""
    if response.status != 206:
        if response.content_length not in (None, size):
            raise DataLoss(f"it has {response.content_length} bytes, and the descriptor says {size}")
        return 0
    text = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.match(text)
    if not match or int(match[1]) != offset or int(match[2]) >= size:
        raise DataLoss(f"it answers {text[:80]!r} when asked for {offset} to {size - 1}")
    return offset


async def _refusal(response: aiohttp.ClientResponse) -> CrispError:
    text = f"{response.status} {response.reason or ''}".strip()
    if said := await _said(response):
        text += f": {said}"
    if response.status in _RETRIABLE:
        return Retriable(text, retry_after(response.headers))
    if response.status == 416:  # what is here is longer than what is there
        return DataLoss(text)
    return _CLASSES.get(response.status, Internal)(text)


async def _said(response: aiohttp.ClientResponse) -> str:
    """What the body of an error says, if it says it the registries' way."""
    try:
        body = await _read(response, MAX_ERROR_BODY)
        errors = msgspec.json.decode(body, type=_ErrorBody).errors
    except (ValueError, DataLoss, aiohttp.ClientError, TimeoutError):
        return ""
    text = ", ".join(f"{error.code} {error.message}".strip() for error in errors)[:_MAX_ERROR_TEXT]
    return "".join(character if character.isprintable() else " " for character in text)


def _proxy(url: URL) -> str | None:
    """By HTTP_PROXY, HTTPS_PROXY, NO_PROXY; never for this machine. (`trust_env` would send what is in .netrc, too.)"""
    host = url.host or ""
    proxies = getproxies()
    if not proxies or is_loopback(host) or proxy_bypass(host):
        return None
    return proxies.get(url.scheme)


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """Raise what goes wrong below HTTP as what it means to us."""
    try:
        yield
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as exc:
        reason = getattr(exc, "verify_message", "") or type(exc).__name__
        raise Unreachable(f"TLS: {reason}: give the host's `ca` in hosts.toml, or http:// if it has no TLS") from exc
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
        raise Unreachable(_reason(exc)) from exc
    except (aiohttp.SocketTimeoutError, TimeoutError) as exc:
        raise Unavailable("no answer in time") from exc
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
        raise Retriable(f"the connection broke: {_reason(exc)}") from exc
    except aiohttp.ClientError as exc:
        raise Internal(f"no sensible HTTP: {type(exc).__name__}") from exc


def _reason(exc: Exception) -> str:
    """The system's words; the library's can hold whole URLs."""
    cause = getattr(exc, "os_error", exc)
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno).lower()
    return str(getattr(cause, "strerror", None) or type(exc).__name__).lower()
