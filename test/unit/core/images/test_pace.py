"""Rates of pulls, and what the log says of a slow one."""

import asyncio
import logging

import pytest

from core.images import pace
from core.images.progress import LayerState, Phase, PullProgress
from core.types import Descriptor, digest


class Arriving:
    offset = 0


def layer(fill: str) -> LayerState:
    blob = Descriptor(media_type="", digest=digest("sha256:" + fill * 64), size=1000)
    state = LayerState(blob, Phase.DOWNLOADING)
    state.arriving = Arriving()
    return state


@pytest.fixture
def progress():
    progress = PullProgress()
    progress.states = [layer("a"), layer("b")]
    progress.host_of = lambda blob: f"host-{blob[-1]}"
    return progress


def test_the_rate_is_what_came_since_the_last_look(progress):
    progress.measure(1)
    progress.states[0].arriving.offset = 300
    progress.measure(2)
    first, second = progress.layers()
    assert (first.rate, first.host, second.rate, second.host) == (150, "host-a", 0, "host-b")
    progress.states[0].phase = Phase.UNPACKING
    assert (progress.layers()[0].rate, progress.layers()[0].host) == (0, "")


async def test_the_log_names_the_slowest_layer_its_host_and_its_rate(progress, monkeypatch, caplog):
    monkeypatch.setattr(pace, "PERIOD", 0.01)
    monkeypatch.setattr(pace, "TELL_EVERY", 1)
    caplog.set_level(logging.INFO)
    progress.measure(1)  # what the first look compares with
    async with pace.watched("image", progress), asyncio.timeout(10):
        while not caplog.records:
            progress.states[0].arriving.offset += 1
            await asyncio.sleep(0)
    keys = caplog.records[0].keys
    assert (keys["image"], keys["layer"], keys["host"]) == ("image", "sha256:" + "b" * 64, "host-b")
    assert (keys["bytes_per_second"], keys["here"], keys["size"]) == (0, 0, 1000)
