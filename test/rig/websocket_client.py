"""A WebSocket client of somebody else (aiohttp's) that speaks Kubernetes' channels."""

from __future__ import annotations

import base64
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator

import aiohttp

Socket = aiohttp.ClientWebSocketResponse


@contextlib.asynccontextmanager
async def connected(url: str, *protocols: str) -> AsyncIterator[Socket]:
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=protocols) as socket:
        yield socket


async def received(socket: Socket) -> dict[int, bytes]:
    """All that comes until the server closes, by channel."""
    channels: defaultdict[int, bytes] = defaultdict(bytes)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            channels[int(message.data[0])] += base64.b64decode(message.data[1:])
        else:
            channels[message.data[0]] += message.data[1:]
    return dict(channels)
