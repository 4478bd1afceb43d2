"""A terminal: the pty's master side, which the OCI runtime sends over a socket (runc, docs/terminals.md)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import socket
import struct
import termios
from collections.abc import AsyncIterator
from dataclasses import dataclass

from core.errdefs import Internal
from core.linux.sockets import recv_fds
from core.shim.luggage import Luggage
from core.shim.stdio import FifoPump, Pump, Sink, open_fifo

RECEIVE = 10.0
"""Seconds for the master to arrive after the runtime has ended: it was sent before."""
_NAME = 4096  # bytes of the message that carries the descriptor: the name of the pty

_numbers = itertools.count(1)


@dataclass(slots=True, eq=False)
class Console:
    """The master of one pty, owned until `close`."""

    master: int
    _input: Pump | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def receiving(cls, directory: str) -> AsyncIterator[Receiver]:
        """A socket in `directory` for `--console-socket`, there inside the block.

        Named through a descriptor of ours: a bundle's path can exceed the 108 bytes of sun_path, unix(7).
        """
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        path = f"/proc/{os.getpid()}/fd/{fd}/tty-{next(_numbers)}"
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, fd)
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(path)
            stack.callback(os.unlink, path)
            listener.listen(1)
            listener.setblocking(False)
            yield Receiver(path, listener)

    def resize(self, width: int, height: int) -> None:
        """Columns and rows."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def attach(self, stdin: str, stdout: str, sink: Sink) -> Pump | FifoPump:
        """Pump the terminal's output to FIFO `stdout`, or into `sink` without one: the caller's pump. FIFO `stdin` is
        typed until `close`."""
        if stdin:
            self._input = Pump(open_fifo(stdin), self.write)
        output = os.dup(self.master)
        return FifoPump(output, stdout) if stdout else Pump(output, sink)

    def write(self, data: bytes) -> None:
        """Type `data`. What a stopped reader leaves no room for is lost, as on a real line."""
        with contextlib.suppress(OSError):
            os.write(self.master, data)

    def put_down(self, luggage: Luggage) -> int:
        return luggage.pack(self.master)

    @classmethod
    def take_up(cls, place: int | None, luggage: Luggage) -> Console | None:
        """One without FIFOs, or none."""
        return None if place is None else cls(luggage.unpack(place))

    def close(self) -> None:
        if self._input:
            self._input.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


class Receiver:
    """Waits for the runtime to send the master."""

    def __init__(self, path: str, listener: socket.socket) -> None:
        self.socket_path = path
        self._listener = listener

    async def wait_received(self) -> Console:
        """Raises Internal when the runtime sent nothing."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RECEIVE):
                peer, _ = await loop.sock_accept(self._listener)
        except TimeoutError as exc:
            raise Internal("the OCI runtime sent no terminal") from exc
        with peer:
            peer.setblocking(True)
            _, fds = recv_fds(peer, _NAME, 1)
        if not fds:
            raise Internal("the OCI runtime sent a message without a terminal")
        os.set_blocking(fds[0], False)
        return Console(fds[0])

