"""Events to the daemon: in order, kept while it is away, told again until it has taken them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from core.api import events_pb2, types_pb2
from core.errdefs import CrispError
from core.log import get_logger
from core.ttrpc.client import Client

log = get_logger(__name__)

SERVICE = "containerd.services.events.ttrpc.v1.Events"
ANSWER = 5.0
"""Seconds for the daemon to take one event."""
RETRY_FIRST, RETRY_MOST = 0.05, 2.0
"""Seconds between attempts while the daemon is away, doubling: it is back within a second or so of a restart."""


class Publisher:
    """Publishes to the ttrpc socket at `address`; the queue is bounded by what the pod's processes can do."""

    def __init__(self, address: str, namespace: str) -> None:
        self._address = address
        self._namespace = namespace
        self._queue: deque[types_pb2.Envelope] = deque()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._client: Client | None = None

    def publish(self, topic: str, event: Message) -> None:
        """Queue an event; returns at once."""
        envelope = types_pb2.Envelope(namespace=self._namespace, topic=topic)
        envelope.timestamp.FromNanoseconds(time.time_ns())
        envelope.event.type_url = event.DESCRIPTOR.full_name  # containerd's typeurl has no prefix
        envelope.event.value = event.SerializeToString()
        self._queue.append(envelope)
        self._wake.set()
        self._empty.clear()

    @property
    def at_rest(self) -> bool:
        """Whether all is told."""
        return not self._queue

    async def run(self) -> None:
        """Send what is queued, for ever."""
        delay = RETRY_FIRST
        while True:
            await self._wake.wait()
            try:
                await self._send_all()
                delay = RETRY_FIRST
            except CrispError:
                self._hang_up()
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MOST)

    async def wait_empty(self, timeout: float) -> None:
        """Wait until all is sent, at most `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._empty.wait()
        self._hang_up()

    async def _send_all(self) -> None:
        while self._queue:
            if self._client is None or not self._client.connected:
                self._client = await Client.connect(self._address)
            request = events_pb2.ForwardRequest(envelope=self._queue[0])
            await self._client.call(SERVICE, "Forward", request, Empty, timeout=ANSWER)
            self._queue.popleft()
        self._wake.clear()
        self._empty.set()

    def _hang_up(self) -> None:
        if self._client:
            self._client.close()
            self._client = None
