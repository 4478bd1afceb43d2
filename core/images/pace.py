"""How fast a pull is: rates for those who look, and now and then a word in the log about what it waits for."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from core.images.progress import PullProgress
from core.log import get_logger

log = get_logger(__name__)

PERIOD = 1.0  # seconds between two looks
TELL_EVERY = 30  # looks: what takes longer than this, people ask about


@contextlib.asynccontextmanager
async def watched(image: str, progress: PullProgress) -> AsyncIterator[None]:
    """Keep the rates of `progress` while the block runs, and tell which layer is the slowest."""
    watching = asyncio.create_task(_watch(image, progress))
    try:
        yield
    finally:
        watching.cancel()


async def _watch(image: str, progress: PullProgress) -> None:
    for look in itertools.count(1):
        await asyncio.sleep(PERIOD)
        progress.measure(PERIOD)
        if look % TELL_EVERY == 0:
            _tell(image, progress)


def _tell(image: str, progress: PullProgress) -> None:
    left = [layer for layer in progress.layers() if layer.offset < layer.size and layer.host]
    if not left:
        log.info("pull goes on", image=image, layers=len(progress.states))
        return
    slowest = min(left, key=lambda layer: layer.rate)
    log.info(
        "pull goes on",
        image=image,
        layer=slowest.digest,
        host=slowest.host,
        bytes_per_second=slowest.rate,
        here=slowest.offset,
        size=slowest.size,
    )
