from __future__ import annotations

import base64

import pytest

from core.errdefs import ResourceExhausted
from cri.streaming.tokens import LIFETIME, MAX_WAITING, Tokens


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_token_opens_its_request_once() -> None:
    """Hazard "token"."""
    tokens = Tokens[str](Clock())
    token = tokens.add("request")
    assert tokens.take(token) == "request"
    assert tokens.take(token) is None
    assert tokens.take("unknown") is None


def test_a_token_is_void_after_its_minute() -> None:
    clock = Clock()
    tokens = Tokens[str](clock)
    early, clock.now = tokens.add("early"), LIFETIME - 0.1
    late, clock.now = tokens.add("late"), LIFETIME
    assert tokens.take(early) is None
    assert tokens.take(late) == "late"


def test_a_thousand_requests_wait_and_void_ones_make_room() -> None:
    """Hazard "token"."""
    clock = Clock()
    tokens = Tokens[int](clock)
    for number in range(MAX_WAITING):
        tokens.add(number)
    with pytest.raises(ResourceExhausted):
        tokens.add(0)
    clock.now = LIFETIME
    tokens.add(0)


def test_a_token_has_128_bits_that_fit_in_a_path() -> None:
    token = Tokens[int](Clock()).add(0)
    assert len(base64.urlsafe_b64decode(token + "==")) == 16
