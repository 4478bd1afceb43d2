"""The client's end of an exec or attach, over whichever protocol it came."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from core.errdefs import Cancelled
from core.tasks.streams import ByteSink, ByteSource
from cri.streaming.remotecommand.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What was asked for and opened; None for the rest. A ByteSink here raises Cancelled when the client is gone."""

    stdin: ByteSource | None = None
    stdout: ByteSink | None = None
    stderr: ByteSink | None = None
    resize: ByteSource | None = None
    """JSON documents, see `remotecommand.resize`."""
    error: ByteSink
    status_form: Callable[[Status], bytes]

    async def tell(self, message: str, *, terminal: bool) -> None:
        """Write a line where the command would have complained."""
        with contextlib.suppress(Cancelled):
            if sink := self.stderr or self.stdout:
                await sink.write((message + ("\r\n" if terminal else "\n")).encode())

    async def end(self, status: Status) -> None:
        """Tell how it ended, after all output; nothing when the client is gone."""
        with contextlib.suppress(Cancelled):
            for sink in (self.stdout, self.stderr):
                if sink:
                    await sink.close()
            if message := self.status_form(status):
                await self.error.write(message)
            await self.error.close()
