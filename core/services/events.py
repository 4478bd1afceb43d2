"""containerd.services.events.v1.Events: so far one topic, the progress of pulls.

A subscriber is shown each pull when it has got on; who reads slowly sees fewer steps, and nothing is queued for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress

from core.api import crisp_events_pb2 as events
from core.api import events_service_pb2 as api
from core.api.types_pb2 import Envelope
from core.images.progress import LayerProgress
from core.images.pull import Puller
from core.services.caller import NAMESPACE, Namespaced
from core.services.filters import passing

PULL = "/images/pull"
PERIOD = 0.5  # seconds between two looks at the running pulls


class EventsService(Namespaced):
    def __init__(self, puller: Puller, closing: asyncio.Event) -> None:
        """`closing` ends all subscriptions."""
        self._puller = puller
        self._closing = closing

    async def subscribe(self, request: api.SubscribeRequest) -> AsyncGenerator[Envelope, None]:
        if not passing(request.filters, [({"topic": PULL, "namespace": NAMESPACE}, True)]):
            await self._closing.wait()
            return
        told: Mapping[str, tuple[LayerProgress, ...]] = {}
        while not self._closing.is_set():
            running = self._puller.running()
            for image, layers in running.items():
                if told.get(image) != layers:
                    yield _envelope(events.PullProgress(image=image, layers=map(_to_api, layers)))
            for image in told.keys() - running.keys():
                yield _envelope(events.PullProgress(image=image, layers=map(_to_api, told[image]), ended=True))
            told = running
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), PERIOD)


def _envelope(event: events.PullProgress) -> Envelope:
    envelope = Envelope(namespace=NAMESPACE, topic=PULL)
    envelope.timestamp.GetCurrentTime()
    envelope.event.type_url = event.DESCRIPTOR.full_name  # without a host in front, as containerd's own
    envelope.event.value = event.SerializeToString()
    return envelope


def _to_api(layer: LayerProgress) -> events.PullProgress.Layer:
    return events.PullProgress.Layer(
        digest=layer.digest,
        phase=layer.phase.value,
        offset=layer.offset,
        size=layer.size,
        rate=layer.rate,
        host=layer.host,
    )
