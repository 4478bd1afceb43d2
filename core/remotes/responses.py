"""Responses: what their bodies hold, and what it means when there is none that we want."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from core.errdefs import CrispError, DataLoss, Internal, NotFound, PermissionDenied, Unauthenticated, Unavailable
from core.remotes.failures import Retriable, Unreachable
from core.remotes.retry import retry_after

if TYPE_CHECKING:
    import aiohttp

MAX_ERROR_BODY = 64 << 10  # bytes; the peers' limit
_MAX_ERROR_TEXT = 300  # characters of what the host says, which ends up in events of pods

_RETRIABLE = frozenset((408, 425, 429, 500, 502, 503, 504))
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)$")
_CLASSES: Mapping[int, type[CrispError]] = {401: Unauthenticated, 403: PermissionDenied, 404: NotFound}


class _ErrorItem(msgspec.Struct):
    code: str = ""
    message: str = ""


class _ErrorBody(msgspec.Struct):
    """OCI distribution-spec, Error Codes."""

    errors: tuple[_ErrorItem, ...] = ()


def is_success(response: aiohttp.ClientResponse) -> bool:
    return response.status // 100 == 2


async def read_limited(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body. Raises DataLoss above `limit` bytes."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise DataLoss(f"it answers with more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


async def read_blob(response: aiohttp.ClientResponse, size: int, offset: int) -> AsyncIterator[bytes]:
    """The blob of `size` bytes from `offset` on, to where the response ends, whether or not the host does ranges.

    Raises DataLoss, Retriable (it ends early).
    """
    start, end = _extent(response, size, offset)
    skip, left = offset - start, end - offset
    async for data in response.content.iter_any():
        fresh = data[skip:] if skip else data
        skip -= len(data) - len(fresh)
        if len(fresh) > left:
            raise DataLoss(f"it sends more than the {size} bytes of the descriptor")
        left -= len(fresh)
        if fresh:
            yield fresh
    if left:
        raise Retriable(f"the transfer ended {left} bytes early")


def has_range(response: aiohttp.ClientResponse, start: int, end: int) -> bool:
    """Whether it holds the bytes from `start` to `end` and no others."""
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return response.status == 206 and bool(match and (int(match[1]), int(match[2]) + 1) == (start, end))


def _extent(response: aiohttp.ClientResponse, size: int, offset: int) -> tuple[int, int]:
    """What the response holds, from `offset` or from 0 (RFC 9110, 14.4). Raises DataLoss when of another blob."""
    if response.status != 206:
        if response.content_length not in (None, size):
            raise DataLoss(f"it has {response.content_length} bytes, and the descriptor says {size}")
        return 0, size
    text = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.match(text)
    if not match or int(match[1]) != offset or not offset <= int(match[2]) < size:
        raise DataLoss(f"it answers {text[:80]!r} when asked for bytes from {offset} on of {size}")
    if match[3] not in ("*", str(size)):
        raise DataLoss(f"it has {match[3]} bytes, and the descriptor says {size}")
    return offset, int(match[2]) + 1


async def refusal(response: aiohttp.ClientResponse) -> CrispError:
    """What a status that is no success means, in the host's words as far as they are printable."""
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
    import aiohttp  # noqa: PLC0415 - see Registry.repository

    try:
        body = await read_limited(response, MAX_ERROR_BODY)
        errors = msgspec.json.decode(body, type=_ErrorBody).errors
    except (ValueError, DataLoss, aiohttp.ClientError, TimeoutError):
        return ""
    text = ", ".join(f"{error.code} {error.message}".strip() for error in errors)[:_MAX_ERROR_TEXT]
    return "".join(character if character.isprintable() else " " for character in text)


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Raise what goes wrong below HTTP as what it means to us."""
    import aiohttp  # noqa: PLC0415 - see Registry.repository

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
