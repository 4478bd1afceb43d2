"""When to ask a host again, and how often."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from core.remotes.failures import Retriable


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds, unless said otherwise."""

    attempts: int = 5
    """Requests to the last host; a resumed transfer starts anew with each byte that arrives."""
    mirror_attempts: int = 2
    """Requests to a host behind which another one waits."""
    header_timeout: float = 60.0
    """From a request to the end of its response's header, connecting included."""
    no_progress: float = 300.0
    """Without a byte of a body; the peers' default. Waiting for our own disk does not count."""
    first_pause: float = 0.25
    longest_pause: float = 5.0
    longest_retry_after: float = 60.0
    """What a host may ask for; a kubelet asks again by itself after that."""


class Retries:
    """One operation's attempts at one host."""

    def __init__(self, limits: Limits, attempts: int) -> None:
        self._limits = limits
        self._attempts = attempts
        self._used = 0

    def progressed(self) -> None:
        self._used = 0

    async def pause(self, error: Retriable) -> None:
        """Wait until the next attempt. Raises `error` when there is none left."""
        self._used += 1
        if self._used >= self._attempts:
            raise error
        if error.after is not None:
            await asyncio.sleep(min(error.after, self._limits.longest_retry_after))
            return
        pause = min(self._limits.first_pause * 2 ** (self._used - 1), self._limits.longest_pause)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret: keeps nodes from marching in step


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by Retry-After (RFC 9110, 10.2.3), a number or a date; None without a sensible one."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
