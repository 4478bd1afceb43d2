"""A shim that nobody asks for anything ends; one that serves a pod waits to be told."""

import asyncio

import pytest

from core.shim import main


async def test_a_shim_that_nobody_wants_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "HANDSHAKE", 0.01)
    async with asyncio.timeout(5):
        await main._until_over(asyncio.Event(), lambda: False)


async def test_a_shim_that_has_a_pod_waits_until_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "HANDSHAKE", 0.01)
    over = asyncio.Event()
    waiting = asyncio.ensure_future(main._until_over(over, lambda: True))
    assert not (await asyncio.wait([waiting], timeout=0.1))[0]
    over.set()
    await waiting
