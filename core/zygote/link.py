"""One zygote process, seen from the daemon: from its start to the end of its control socket."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.errdefs import ResourceExhausted, Unavailable
from core.linux.sockets import recv_fds
from core.zygote.wire import CONTROL_FD, Reply, ReplyKind, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked:
    """A child; `pidfd` is its receiver's to close."""

    pid: int
    pidfd: int
    exited: asyncio.Future[int | None]
    """Exit code, minus the signal, or None when the zygote ended first."""

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class Link:
    """Use inside a running loop. Calls `on_close` once, when the zygote is gone or `close` is called."""

    def __init__(self, arguments: Sequence[str], on_close: Callable[[Link], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_close = on_close
        self._forking: collections.deque[tuple[Request, asyncio.Future[Forked]]] = collections.deque()
        self._running: dict[int, asyncio.Future[int | None]] = {}
        self._open = True
        self.has_worked = False
        """Whether it ever forked a child: a new one is then likely to work, too."""
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._control.setblocking(False)
            try:
                self.pid = _spawn(arguments, theirs.fileno())
            except BaseException:
                self._control.close()
                raise
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._control, self._receive)
        self._loop.add_reader(self._pidfd, self._reap)

    def fork(self, request: Request, fds: Sequence[int]) -> asyncio.Future[Forked]:
        """Ask for a child; cancelling the future kills it, be it forked already or not.

        Raises ResourceExhausted, Unavailable; the future ends with them, too.
        """
        try:
            socket.send_fds(self._control, [request.encode()], fds)
        except BlockingIOError as exc:
            raise ResourceExhausted(f"{len(self._forking)} jobs wait for the zygote: retry later") from exc
        except OSError as exc:
            raise Unavailable("the zygote is gone, and is being restarted") from exc
        forked: asyncio.Future[Forked] = self._loop.create_future()
        self._forking.append((request, forked))
        return forked

    def close(self) -> None:
        """Let the zygote go: it kills its jobs and ends, which `exited` tells. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._control)
        self._control.close()
        for _, forked in self._forking:
            if not forked.cancelled():
                forked.set_exception(Unavailable("the zygote is gone, and is being restarted"))
        for exited in self._running.values():
            exited.set_result(None)
        self._on_close(self)

    def _receive(self) -> None:
        try:
            data, fds = recv_fds(self._control, Reply.SIZE, 1)
        except BlockingIOError:
            return
        except ConnectionError:
            data, fds = b"", []
        if not data:
            self.close()
            return
        reply = Reply.decode(data)
        if reply.kind is ReplyKind.FORKED:
            self._forked(*self._forking.popleft(), reply, fds)
        else:
            self._running.pop(reply.pid).set_result(reply.status)

    def _forked(self, request: Request, waiter: asyncio.Future[Forked], reply: Reply, fds: Sequence[int]) -> None:
        if reply.status:
            if not waiter.cancelled():
                waiter.set_exception(ResourceExhausted(f"the zygote cannot fork: {os.strerror(reply.status)}"))
            return
        self.has_worked = True
        forked = Forked(pid=reply.pid, pidfd=fds[0], exited=self._loop.create_future())
        if not request.detach:
            self._running[reply.pid] = forked.exited
        if waiter.cancelled():
            forked.kill()
            os.close(forked.pidfd)
        else:
            waiter.set_result(forked)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        _, status = os.waitpid(self.pid, 0)
        self.exited.set_result(os.waitstatus_to_exitcode(status))
        self.close()


def _spawn(arguments: Sequence[str], control: int) -> int:
    """Start the zygote with our import path, no signal blocked, and no descriptor but its socket and our stderr."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "core.zygote", *arguments],
        environment,
        file_actions=[null, (os.POSIX_SPAWN_DUP2, control, CONTROL_FD)],
        setpgroup=0,  # a Ctrl-C in the daemon's terminal is the daemon's
        setsigmask=[],
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )
