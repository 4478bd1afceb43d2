"""The user's terminal while somebody else's program has it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import termios
import tty
from collections.abc import Iterator


@contextlib.contextmanager
def raw(terminal: int) -> Iterator[None]:
    """Keys go through as they are inside the block: neither echoed nor made signals."""
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextlib.contextmanager
def resizes() -> Iterator[socket.socket]:
    """A socket that becomes readable at each change of the terminal's size; read it to wait for the next."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        before_fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        before = signal.signal(signal.SIGWINCH, lambda *_: None)
        try:
            yield ours
        finally:
            signal.signal(signal.SIGWINCH, before)
            signal.set_wakeup_fd(before_fd)


def size_of(terminal: int) -> bytes:
    """As Kubernetes' resize channel takes it."""
    size = os.get_terminal_size(terminal)
    return json.dumps({"Width": size.columns, "Height": size.lines}).encode()
