"""Port-forward over SPDY: a session of stream pairs, `data` and `error`, one pair per forwarded connection."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass

from core.errdefs import Cancelled
from core.log import get_logger
from cri.streaming.deps import StreamingDeps
from cri.streaming.portforward.forward import Target, forward
from cri.streaming.spdy.connection import Stream

log = get_logger(__name__)

PROTOCOL = "portforward.k8s.io"
_PORTS = re.compile("[0-9]{1,5}")
_PORT, _REQUEST, _TYPE = "port", "requestid", "streamtype"  # headers of SYN_STREAM


@dataclass(slots=True)
class _Pair:
    streams: dict[str, Stream]
    expiry: asyncio.TimerHandle


class PortForwards:
    """The pairs of one session."""

    def __init__(self, deps: StreamingDeps, sandbox_id: str) -> None:
        self._deps = deps
        self._sandbox_id = sandbox_id
        self._pairs: dict[str, _Pair] = {}
        """By request id, those that still want a stream."""
        self._complete: asyncio.Queue[tuple[Stream, Stream]] = asyncio.Queue()

    def accept(self, stream: Stream) -> bool:
        """Take a new stream; False when its headers are not those of a forwarded connection, or it is one too many."""
        kind, port = stream.headers.get(_TYPE, ""), stream.headers.get(_PORT, "")
        if kind not in ("data", "error") or not _PORTS.fullmatch(port) or not 0 < int(port) < 1 << 16:
            return False
        request = stream.headers.get(_REQUEST) or _implied_request(stream.id, kind)
        pair = self._pairs.get(request) or self._begin(request)
        if kind in pair.streams:
            return False
        pair.streams[kind] = stream
        if len(pair.streams) == 2:
            pair.expiry.cancel()
            del self._pairs[request]
            self._complete.put_nowait((pair.streams["data"], pair.streams["error"]))
        return True

    async def run(self) -> None:
        """Serve each pair that becomes complete; until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    group.create_task(self._serve(*await self._complete.get()))
        finally:
            for pair in self._pairs.values():
                pair.expiry.cancel()

    def _begin(self, request: str) -> _Pair:
        loop = asyncio.get_running_loop()
        pair = self._pairs[request] = _Pair({}, loop.call_later(self._deps.creation_timeout, self._expire, request))
        return pair

    def _expire(self, request: str) -> None:
        log.info("port-forward: the client opened one stream of two", sandbox_id=self._sandbox_id)
        for stream in self._pairs.pop(request).streams.values():
            stream.reset()

    async def _serve(self, data: Stream, error: Stream) -> None:
        error.inbox.discard()  # it is ours to write
        try:
            async with asyncio.TaskGroup() as group:
                work = group.create_task(self._forward(data, error))
                gone = group.create_task(data.wait_broken())
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                work.cancel()  # the client wants no more of this connection, whatever the pod does
                gone.cancel()
        finally:
            data.reset()
            error.reset()

    async def _forward(self, data: Stream, error: Stream) -> None:
        with contextlib.suppress(Cancelled):
            target = Target(sandbox_id=self._sandbox_id, port=int(data.headers[_PORT]))
            await forward(self._deps.dial, target, data, data, error)
            await error.close()


def _implied_request(stream_id: int, kind: str) -> str:
    """Clients before Kubernetes 1.1 send no request id, and open the data stream right after its error stream."""
    return str(stream_id if kind == "error" else stream_id - 2)
