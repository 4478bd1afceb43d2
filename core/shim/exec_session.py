"""An exec for one client, whose bytes never come through here: its pipes or its terminal are the client's."""

from __future__ import annotations

import asyncio
import contextlib
import os

from core.api.crisp_shim_pb2 import ExecExit, OpenStreams, StreamsEvent, StreamsOpened
from core.shim.console import Console
from core.shim.container import Container
from core.shim.reaper import Process
from core.shim.run import end_exec, start_exec, wait_exec
from core.shim.session import Session
from core.shim.stdio import drop_output, no_input, no_output, pipe

Offer = dict[StreamsOpened.Descriptor, int]


async def serve_exec(
    container: Container, turn: asyncio.Semaphore, request: OpenStreams, process: bytes, session: Session
) -> None:
    """From start to exit, or to the kill when the client is gone. Raises what `start_exec` raises."""
    with contextlib.ExitStack() as unwanted:  # what nobody reads is read here, as long as the exec runs
        with contextlib.ExitStack() as handed:  # over to the client, and then not ours any more
            async with turn:
                if session.gone.done():
                    return
                start = _start_with_terminal if request.terminal else _start_with_pipes
                running, offer = await start(container, request, process, handed, unwanted)
            if not session.open(offer, stdin=request.stdin):
                end_exec(container, running)
        await wait_exec(container, running, session.gone)
        session.tell(StreamsEvent(exit=ExecExit(code=running.exit.result())))


async def _start_with_terminal(
    container: Container,
    request: OpenStreams,
    process: bytes,
    handed: contextlib.ExitStack,
    unwanted: contextlib.ExitStack,
) -> tuple[Process, Offer]:
    async with Console.receiving(container.bundle) as receiver:
        running = await start_exec(container, process, (), receiver.socket_path)
        try:
            console = await receiver.wait_received()
        except BaseException:
            end_exec(container, running)
            raise
    handed.callback(console.close)
    if not request.stdout:
        drop_output(os.dup(console.master), unwanted)
    return running, {StreamsOpened.TERMINAL: console.master}


async def _start_with_pipes(
    container: Container,
    request: OpenStreams,
    process: bytes,
    handed: contextlib.ExitStack,
    unwanted: contextlib.ExitStack,
) -> tuple[Process, Offer]:
    offer: Offer = {}
    with contextlib.ExitStack() as its_own:
        stdio = []
        for descriptor, wanted in (
            (StreamsOpened.STDIN, request.stdin),
            (StreamsOpened.STDOUT, request.stdout),
            (StreamsOpened.STDERR, request.stderr),
        ):
            if wanted:
                read, write = pipe()
                mine, its = (write, read) if descriptor == StreamsOpened.STDIN else (read, write)
                handed.callback(os.close, mine)
                offer[descriptor] = mine
            else:
                its = no_input() if descriptor == StreamsOpened.STDIN else no_output(unwanted)
            its_own.callback(os.close, its)
            stdio.append(its)
        return await start_exec(container, process, stdio), offer
