"""Port-forward over the channels of a WebSocket: two for each port of the request, data and error."""

from __future__ import annotations

import asyncio
import contextlib
import struct

from core.errdefs import Cancelled
from cri import api
from cri.streaming.portforward.forward import Dial, Target, forward
from cri.streaming.websocket.channels import Channels, Sink, Source
from cri.streaming.websocket.connection import WebSocket

PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")
_PORT = struct.Struct("<H")


class _Back:
    """The data channel, whose one direction cannot end without the other: what ends it ends both."""

    def __init__(self, sink: Sink, source: Source) -> None:
        self._source = source
        self.write = sink.write

    async def close(self) -> None:
        self._source.inbox.end()


def open_channels(socket: WebSocket, version: str, request: api.PortForwardRequest) -> Channels:
    return Channels(socket, version, range(0, 2 * len(request.port), 2))


async def forward_channels(channels: Channels, dial: Dial, request: api.PortForwardRequest) -> None:
    """Forward one connection per port, until all have ended."""
    with contextlib.suppress(Cancelled):
        async with asyncio.TaskGroup() as group:
            for number, port in enumerate(request.port):
                target = Target(sandbox_id=request.pod_sandbox_id, port=port)
                group.create_task(_forward(channels, 2 * number, dial, target))


async def _forward(channels: Channels, channel: int, dial: Dial, target: Target) -> None:
    data, back, error = channels.source(channel), channels.sink(channel), channels.sink(channel + 1)
    with contextlib.suppress(Cancelled):
        for sink in (back, error):
            await sink.write(_PORT.pack(target.port))  # each channel begins with the port that it is for
        await forward(dial, target, data, _Back(back, data), error)
