"""The zygote's loop: fork what is asked for, reap what ends. One thread, no handler, no heap that grows."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.failpoint import failpoint
from core.linux.fork import fork
from core.linux.sockets import recv_fds
from core.zygote import child
from core.zygote.wire import MAX_FDS, MAX_REQUEST, Reply, ReplyKind, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    pid: int
    detached: bool


class Server:
    """Serves one control socket until its other end closes; then children that are not detached are killed."""

    def __init__(self, control: socket.socket, jobs: Mapping[str, str]) -> None:
        self._control = control
        self._jobs = jobs
        self._children: dict[int, _Child] = {}  # by pidfd
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        try:
            while True:
                for fd, _ in self._poll.poll():
                    if fd == self._control.fileno():
                        self._fork()
                    else:
                        self._reap(fd)
        except (EOFError, ConnectionError):
            self._kill_all()

    def _fork(self) -> None:
        data, fds = recv_fds(self._control, MAX_REQUEST, MAX_FDS)
        if not data:
            raise EOFError
        request = Request.decode(data)
        parent = os.getpid()
        try:
            pid = fork()  # this is the one process that may: a single thread, no locks
        except OSError as exc:
            self._reply(Reply(kind=ReplyKind.FORKED, pid=0, status=exc.errno or errno.EAGAIN))
        else:
            if pid == 0:
                child.run(self._jobs[request.job], fds[0], fds[1:], parent=parent, detach=request.detach)
            failpoint("zygote.fork.forked")
            self._adopt(pid, request)
        finally:
            for fd in fds:
                os.close(fd)

    def _adopt(self, pid: int, request: Request) -> None:
        pidfd = os.pidfd_open(pid)  # no other process: only we reap it
        self._children[pidfd] = _Child(pid=pid, detached=request.detach)
        self._poll.register(pidfd, select.POLLIN)
        self._reply(Reply(kind=ReplyKind.FORKED, pid=pid), [pidfd])

    def _reap(self, pidfd: int) -> None:
        ended = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(ended.pid, 0)
        if not ended.detached:
            self._reply(Reply(kind=ReplyKind.EXITED, pid=ended.pid, status=os.waitstatus_to_exitcode(status)))

    def _reply(self, reply: Reply, fds: Sequence[int] = ()) -> None:
        socket.send_fds(self._control, [reply.encode()], fds)

    def _kill_all(self) -> None:
        for pidfd, running in self._children.items():
            if not running.detached:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
