"""Paths of unix sockets: bound with an exact mode, and of any length."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

SUN_PATH = 107  # bytes that fit struct sockaddr_un beside its final zero, unix(7)
BACKLOG = 4096  # what somaxconn allows by default: a full backlog fails connect(2) at once, unix(7)


def listen(path: str, mode: int = 0o600, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A listening socket at `path`, whatever was there before; from its first moment nobody but `mode` lets in."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        os.fchmod(listener.fileno(), mode)  # bind(2) gives the file the mode of the socket
        with short_path(path) as short:
            listener.bind(short)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def short_path(path: str) -> Iterator[str]:
    """A name for `path` that fits a socket address, good inside the block."""
    if len(os.fsencode(path)) <= SUN_PATH:
        yield path
        return
    directory, name = os.path.split(path)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)
