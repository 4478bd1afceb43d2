"""Exec and attach over SPDY: one stream per purpose, named by its header, in any order."""

from __future__ import annotations

import asyncio

from core.log import get_logger
from cri import api
from cri.streaming.remotecommand.client import Client
from cri.streaming.remotecommand.status import Status
from cri.streaming.spdy.connection import Stream

log = get_logger(__name__)

PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
"""v2 half-closes stdin, v3 resizes, v4 tells exit codes."""
_RESIZING = PROTOCOLS[:2]
_KINDS = frozenset({"stdin", "stdout", "stderr", "error", "resize"})


class Gathering:
    """The streams of one client, until all that it asked for are there."""

    def __init__(self, version: str, request: api.ExecRequest | api.AttachRequest, timeout: float) -> None:
        """`timeout` in seconds, for all of them."""
        self._version = version
        self._timeout = timeout
        self._streams: dict[str, Stream] = {}
        wanted = {"error", *(kind for kind in ("stdin", "stdout", "stderr") if getattr(request, kind))}
        self._wanted = frozenset(wanted | ({"resize"} if request.tty and version in _RESIZING else set()))
        self._changed = asyncio.Event()

    def accept(self, stream: Stream) -> bool:
        """Take a new stream, each kind once; one that was not asked for is opened and nothing comes of it."""
        kind = stream.headers.get("streamtype", "")
        if kind not in _KINDS or kind in self._streams:
            return False
        self._streams[kind] = stream
        if kind not in self._wanted or kind not in ("stdin", "resize"):
            stream.inbox.discard()  # nothing that is for us
        self._changed.set()
        return True

    async def client(self) -> Client | None:
        """All streams, once they are there; None when they do not come in time."""
        try:
            async with asyncio.timeout(self._timeout):
                while not self._wanted <= self._streams.keys():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            missing = sorted(self._wanted - self._streams.keys())
            log.info("the client did not open its streams", missing=missing, seconds=self._timeout)
            return None
        streams = {kind: stream for kind, stream in self._streams.items() if kind in self._wanted}
        return Client(
            stdin=streams.get("stdin"),
            stdout=streams.get("stdout"),
            stderr=streams.get("stderr"),
            resize=streams.get("resize"),
            error=streams["error"],
            status_form=Status.json if self._version == PROTOCOLS[0] else Status.text,
        )
