"""containerd-shim-crisp-v1: containerd's way to our shim (runtime type io.containerd.crisp.v1).

start     answer the address of the pod's shim, forked if there is none
delete    end the container that a dead shim left in the bundle, and answer its exit
-info     what this runtime is and can do
-v        its version
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import sys
from collections.abc import Iterator
from typing import Never

from core.errdefs import CrispError
from core.files.atomic import write_atomic
from core.log import configure, get_logger
from core.shim.bootstrap import Call, flags, read_call
from core.shim.delete import delete
from core.shim.main import become_shim
from core.shim.pod import Place
from core.shim.serve import serve
from core.ttrpc.address import listen

log = get_logger(__name__)

MAX_STDIN = 10 << 20
"""Bytes: containerd's own limit for the same message."""


def main() -> None:
    given = flags().parse_args()
    try:
        if given.v or given.info:
            from core.shim import info  # noqa: PLC0415 - 30 ms that no start of a pod shall wait for

            answer = f"{info.version()}\n".encode() if given.v else info.runtime_info(sys.stdin.buffer.read(MAX_STDIN))
        else:
            stdin = b"" if given.action == "delete" else sys.stdin.buffer.read(MAX_STDIN)
            call = read_call(given, os.environ, stdin, os.getcwd())
            answer = asyncio.run(delete(call)) if given.action == "delete" else start(call)
        sys.stdout.buffer.write(answer)
    except (CrispError, OSError) as exc:
        sys.exit(f"containerd-shim-crisp-v1: {exc}")


def start(call: Call) -> bytes:
    """What tells the address of the pod's shim. What a crash leaves is a socket that nobody serves: the next call's."""
    path = call.socket_path()
    os.makedirs(call.socket_dir, mode=0o700, exist_ok=True)
    with _alone(call.socket_dir):
        listener = None if call.served() else listen(path)
    if listener is not None and os.fork() == 0:  # noqa: TID251 - one thread, and warm: an exec would import all again
        _be_shim(call, path, listener)
    if not call.bootstrap:  # before 2.0 the shim keeps its address for a containerd that starts again
        write_atomic(os.path.join(call.bundle, "address"), call.answer(path), durable=False)
    return call.answer(path)


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """No other call looks for a shim meanwhile."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _be_shim(call: Call, path: str, listener: socket.socket) -> Never:
    """Serve until the last container is gone."""
    try:
        score = _oom_score(os.getppid())
        os.setsid()
        _redirect(os.path.join(call.bundle, "log"))
        configure("debug" if call.debug else "info")
        logging.raiseExceptions = False  # nobody may be reading: that must not stop pods
        os.chdir("/")
        become_shim(call.group(), score)
        place = Place(id=call.group(), dir=call.bundle, events=call.events, namespace=call.namespace)
        asyncio.run(serve(place, listener))
        os.unlink(path)
        os._exit(0)
    except BaseException:
        log.exception("the shim failed")
        raise
    finally:
        os._exit(1)


def _oom_score(pid: int) -> int:
    """One above that of containerd, which calls us, as its own shims have: containers inherit it where their spec has
    none, so it must not be the lowest."""
    with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
        return min(int(file.read()) + 1, 1000)


def _redirect(log_fifo: str) -> None:
    """stdin and stdout to nowhere, so that the caller sees their end; stderr to the FIFO that containerd reads its
    shims' logs from."""
    for number in range(3):
        os.close(number)
        os.open(os.devnull, os.O_RDWR)  # gets the lowest number, which is the one just closed
    with contextlib.suppress(FileNotFoundError):
        told = os.open(log_fifo, os.O_RDWR | os.O_NONBLOCK)  # both ways: it may outlive its reader
        os.dup2(told, 2)
        os.close(told)


if __name__ == "__main__":
    main()
