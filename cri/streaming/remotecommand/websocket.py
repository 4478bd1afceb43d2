"""Exec and attach over a WebSocket: one channel per purpose."""

from __future__ import annotations

from cri import api
from cri.streaming.remotecommand.client import Client
from cri.streaming.remotecommand.status import Status
from cri.streaming.websocket.channels import V5, Channels
from cri.streaming.websocket.connection import WebSocket

PROTOCOLS = (V5, "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io")
"""v5 half-closes stdin, v4 tells exit codes."""
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE = range(5)


def open_channels(socket: WebSocket, version: str, request: api.ExecRequest | api.AttachRequest) -> Channels:
    """The channels of a client that speaks `version`, one of PROTOCOLS or ""."""
    return Channels(socket, version, [_RESIZE, *([_STDIN] if request.stdin else [])])


async def channel_client(channels: Channels, version: str, request: api.ExecRequest | api.AttachRequest) -> Client:
    """Say that we are there, as the peers do, by an empty message on the first channel that the client reads."""
    await channels.sink(_STDOUT if request.stdout else _STDERR if request.stderr else _ERROR).write(b"")
    return Client(
        stdin=channels.source(_STDIN) if request.stdin else None,
        stdout=channels.sink(_STDOUT) if request.stdout else None,
        stderr=channels.sink(_STDERR) if request.stderr else None,
        resize=channels.source(_RESIZE),
        error=channels.sink(_ERROR),
        status_form=Status.json if version.startswith(("v4", "v5")) else Status.text,
    )
