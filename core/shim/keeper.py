"""The process that lives as long as its pod: it holds what must not be lost while nothing happens, and does nothing.

    keeper       a fork of the zygote that writes to next to none of its pages; parent of all that loses its own
    └─ worker    the shim as its clients know it, core/shim/main.py; ends when all is quiet

A worker with nothing to do writes down what it knows, hands that over with its descriptors, and ends. What happens next
makes one of them readable, or leaves a child to reap: then the keeper forks a new worker, which inherits all of it and
goes on. Nothing is read here: meanwhile the kernel keeps connections, bytes, and exits as zombies.

    keeper ⇄ worker    seqpacket
      NAME, the pod's  first of all
      EXIT             a child of the keeper has ended; it stays a zombie, and its pid its own, until
      REAP             the worker has taken note
      SLEEP, flags     with descriptors: the worker's document and what it held; a flag of 1 means to wake for it
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # not in typeshed
import _socket
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Never

import setproctitle

from core.linux import prctl
from core.linux.fork import after_fork, fork
from core.log import get_logger

log = get_logger(__name__)

EXIT = struct.Struct("=ii")
"""Pid and exit code: 0-255, 128 + signal when a signal ended it."""
NAME, REAP, SLEEP = b"N", b"R", b"S"
SHIM, WORKER = "crisp-shim", "crisp-worker"
"""Names of the two, in ps(1) say; both show the pod's id."""
MAX_FDS = 253
"""In one message: SCM_MAX_FD, linux net/scm.h."""
FORK_AGAIN = 0.2
"""Seconds until the next try, when the node has no memory or pids for a worker."""

POLLIN, PIPE_BUF = select.POLLIN, select.PIPE_BUF
AF_UNIX, SEQPACKET, CLOEXEC = int(socket.AF_UNIX), int(socket.SOCK_SEQPACKET), int(socket.MSG_CMSG_CLOEXEC)
ROOM = socket.CMSG_SPACE(MAX_FDS * struct.calcsize("i"))
SIGTERM, SIGCHLD, SIG_DFL = map(int, (signal.SIGTERM, signal.SIGCHLD, signal.SIG_DFL))
P_ALL, CLD_EXITED, LOOK = os.P_ALL, os.CLD_EXITED, os.WEXITED | os.WNOHANG | os.WNOWAIT

Work = Callable[[socket.socket, Sequence[int]], None]
"""What a worker does, with its end of the socket and the descriptors that are its own from then on."""


class Keeper:
    """In a process with one thread and no child. What it uses is C's where it can be: each function of Python's is some
    pages that are touched, in each pod."""

    def __init__(self) -> None:
        self._ended, self._tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        """Readable when a child may have ended."""
        prctl.set_child_subreaper()
        _signal.signal(SIGTERM, _nothing)  # systemd stopping crispd's cgroup must not end pods
        _signal.signal(SIGCHLD, _nothing)
        _signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)

    def keep(self, begin: Work, resume: Work, fds: Sequence[int]) -> int:
        """Fork a worker to `begin` with `fds`, then others to `resume` with what the one before has left.

        Until one ends otherwise than by putting down its work: then 0, or 1 if it failed.
        """
        work = begin
        while True:
            worker, control = self._wake(work, fds)
            status, flags, fds = self._attend(worker, control)
            control.close()
            if not fds:
                return status and 1
            self._sleep(fds, flags)
            work = resume

    def close(self) -> None:
        """Be a process like others again."""
        _signal.set_wakeup_fd(-1)
        _signal.signal(SIGCHLD, SIG_DFL)
        _signal.signal(SIGTERM, SIG_DFL)
        prctl.set_child_subreaper(False)
        os.close(self._ended)
        os.close(self._tell)

    def _wake(self, work: Work, fds: Sequence[int]) -> tuple[int, _socket.socket]:
        """Fork a worker, to which `fds` go over; whatever keeps it from being forked passes."""
        keeper = os.getpid()
        control, theirs = _socket.socketpair(AF_UNIX, SEQPACKET)
        while (worker := _fork()) < 0:
            time.sleep(FORK_AGAIN)
        if worker == 0:
            control.close()
            self._be_worker(keeper, work, theirs.detach(), fds)
        theirs.close()
        for fd in fds:
            os.close(fd)
        control.setblocking(False)
        return worker, control

    def _be_worker(self, keeper: int, work: Work, control: int, fds: Sequence[int]) -> Never:
        code = 1
        try:
            after_fork()
            prctl.set_pdeathsig(signal.SIGKILL)
            if os.getppid() != keeper:  # it was gone before the line above
                os._exit(1)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._ended)
            os.close(self._tell)
            prctl.set_name(WORKER)
            work(socket.socket(fileno=control), fds)
            code = 0
        except BaseException:
            log.exception("the shim failed")
        finally:
            os._exit(code)

    def _attend(self, worker: int, control: _socket.socket) -> tuple[int, bytes, Sequence[int]]:
        """Tell the worker of exits until it ends: its status, and flags and descriptors if it has put down its work."""
        poll = select.poll()
        poll.register(control, POLLIN)
        poll.register(self._ended, POLLIN)
        told = 0
        while True:
            message, fds = _receive(control)
            if message is None:
                pid, code = (0, 0) if told else _zombie()
                if pid and pid != worker:
                    told = pid
                    _send(control, EXIT.pack(pid, code))
                else:
                    poll.poll()
                    if SIGTERM in _drain(self._ended):
                        os.kill(worker, SIGTERM)
            elif message == REAP:
                os.waitpid(told, 0)
                told = 0
            elif message[:1] == NAME:
                setproctitle.setproctitle(f"{SHIM} {message[1:].decode()}")
                setproctitle.setthreadtitle(SHIM)
            else:
                _, status = os.waitpid(worker, 0)
                return status, message[1:], fds

    def _sleep(self, fds: Sequence[int], flags: bytes) -> None:
        """Until something happens to what the worker left, or a child has ended."""
        poll = select.poll()
        poll.register(self._ended, POLLIN)
        for fd, wakes in zip(fds, flags, strict=True):
            if wakes:
                poll.register(fd, POLLIN)
        while not _zombie()[0]:
            ready = poll.poll()
            if ready[0][0] != self._ended or len(ready) > 1:
                return
            if SIGTERM in _drain(self._ended):  # perhaps the node ends: the worker will see
                return


def _fork() -> int:
    """-1 while there is no memory or pid for a worker."""
    try:
        return fork()
    except OSError as exc:
        log.error("no worker", error=exc)
        return -1


def _receive(control: _socket.socket) -> tuple[bytes | None, Sequence[int]]:
    """The next message, None when there is none now, b"" after the last one."""
    try:
        message, ancillary, _, _ = control.recvmsg(1 + MAX_FDS, ROOM, CLOEXEC)
    except BlockingIOError:
        return None, ()
    except ConnectionError:  # told once, when the worker has ended with an exit unread; what it said comes next
        return _receive(control)
    return message, memoryview(ancillary[0][2]).cast("i").tolist() if ancillary else ()


def _send(control: _socket.socket, message: bytes) -> None:
    try:
        control.send(message)
    except OSError:  # the worker is just ending
        return


def _drain(fd: int) -> bytes:
    """The signals that have come, a byte each."""
    try:
        return os.read(fd, PIPE_BUF)
    except BlockingIOError:
        return b""


def _zombie() -> tuple[int, int]:
    """A child that has ended, and its exit code; (0, 0) when there is none."""
    try:
        ended = os.waitid(P_ALL, 0, LOOK)
    except ChildProcessError:
        return 0, 0
    if ended is None:
        return 0, 0
    return ended.si_pid, ended.si_status if ended.si_code == CLD_EXITED else 128 + ended.si_status


def _nothing(_signum: int, _frame: FrameType | None) -> None:
    """The handler that makes a signal one that wakes us up."""
