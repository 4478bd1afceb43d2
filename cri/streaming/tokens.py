"""What a streaming URL stands for: each request waits under a token that opens it once, soon."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Generic, TypeVar

from core.errdefs import ResourceExhausted

T = TypeVar("T")

TOKEN_BYTES = 16
"""128 bits: nobody on the node guesses one within its minute. The token is all that a client needs: never log it."""
LIFETIME = 60.0
"""Seconds until a token is void, as both peers have it."""
MAX_WAITING = 1000
"""Requests that wait at a time, as both peers have it."""


class Tokens(Generic[T]):
    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` in seconds, monotonic."""
        self._clock = clock
        self._waiting: dict[str, tuple[float, T]] = {}
        """By token, oldest first: when it becomes void, and the request."""

    def add(self, request: T) -> str:
        """A token for `request`. Raises ResourceExhausted while MAX_WAITING others wait."""
        self._forget_void()
        if len(self._waiting) >= MAX_WAITING:
            raise ResourceExhausted(f"{MAX_WAITING} streaming requests wait for their clients: retry in {LIFETIME:g} s")
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._waiting[token] = (self._clock() + LIFETIME, request)
        return token

    def take(self, token: str) -> T | None:
        """The request behind `token`, once; None for one that is unknown, used or void."""
        self._forget_void()
        _, request = self._waiting.pop(token, (0.0, None))
        return request

    def _forget_void(self) -> None:
        now = self._clock()
        while self._waiting and self._waiting[oldest := next(iter(self._waiting))][0] <= now:
            del self._waiting[oldest]
