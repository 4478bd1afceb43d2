"""One client of a container's streams: output from now on, and its input while there is one."""

from __future__ import annotations

import asyncio
import contextlib
import os

from core.api.crisp_shim_pb2 import OpenStreams, StreamsEvent, StreamsOpened
from core.errdefs import CrispError
from core.shim.audience import Outlet
from core.shim.container import Container
from core.shim.session import Session
from core.ttrpc.status import to_status


async def serve_attach(container: Container, request: OpenStreams, session: Session) -> None:
    """Until the client lets go or has all output there will be. Raises FailedPrecondition (not running), OSError."""
    container.require_running()
    with contextlib.ExitStack() as stack:
        outlets = _join(container, request, session, stack)
        if _open(container, request, session, outlets):
            await _wait_end(container, session, list(outlets.values()))


def _join(
    container: Container, request: OpenStreams, session: Session, stack: contextlib.ExitStack
) -> dict[StreamsOpened.Descriptor, Outlet]:
    def dropped(error: CrispError) -> None:
        session.tell(StreamsEvent(error=to_status(error)))

    wanted = [(StreamsOpened.STDOUT, "stdout")] if request.stdout else []
    wanted += [(StreamsOpened.STDERR, "stderr")] if request.stderr and not container.console else []
    outlets = {}
    for descriptor, stream in wanted:
        outlets[descriptor] = container.outputs.audiences[stream].join(container.backlog_directory, dropped)
        stack.callback(outlets[descriptor].close)
        stack.callback(outlets[descriptor].close_read_end)
    return outlets


def _open(
    container: Container, request: OpenStreams, session: Session, outlets: dict[StreamsOpened.Descriptor, Outlet]
) -> bool:
    """Hand the descriptors over. Whether the client has them."""
    offer = {descriptor: outlet.read_end for descriptor, outlet in outlets.items()}
    terminal = container.console is not None
    typing = container.stdin_for_attach() if request.stdin or terminal else -1
    if typing >= 0:
        offer[StreamsOpened.TERMINAL if terminal else StreamsOpened.STDIN] = typing
    try:
        return session.open(
            offer,
            stdin=request.stdin and typing >= 0 and (not terminal or container.stdio.keep_stdin),
            shared=terminal or not container.stdio.stdin_once,
        )
    finally:
        if typing >= 0:
            os.close(typing)
        for outlet in outlets.values():
            outlet.close_read_end()


async def _wait_end(container: Container, session: Session, outlets: list[Outlet]) -> None:
    assert container.process is not None
    output = asyncio.gather(*(outlet.finished for outlet in outlets)) if outlets else container.process.exit
    await asyncio.wait([session.gone, output], return_when=asyncio.FIRST_COMPLETED)
