"""Run a program to its end: bytes in, bytes out, with a limit on both time and size.

posix_spawn(3) shares the memory of the daemon until the exec, whatever its size, and a pidfd tells the loop of the
exit: 0.68 ms for /bin/true from a process of 300 MiB, against 0.77 ms through asyncio's subprocesses, which take a
thread per child here and reap it before its process group can be killed.

Things that don't work: waiting for the end of stdout (a daemon that the program leaves behind keeps it open), killing
a process group after its leader was reaped (the number may be somebody else's by then).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

MAX_STDERR = 64 << 10  # bytes; what is beyond is read and dropped
_CHUNK = 64 << 10  # bytes; what a pipe holds
GRACE = 2.0
"""Seconds. What is killed half way can leave the node in a state that it never gets out of: after a SIGKILL between two
steps of making its bridge, the bridge plugin fails for every pod to come ("could not set bridge's mac")."""
_KILL_WAIT = 5.0  # seconds until a process that SIGKILL does not end, in an uninterruptible call, is left to itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    code: int
    """Exit code, or the negative number of the signal that ended the program."""
    stdout: bytes
    stderr: bytes
    truncated: bool
    """The program wrote more to stdout than the limit and was killed for it."""


async def execute(
    command: Sequence[str], environment: Mapping[str, str], stdin: bytes, *, limit: int, timeout: float
) -> Completed:
    """Run `command`, whose first item is a path, in a process group of its own and return when it has ended.

    It may write `limit` bytes to stdout. The group is killed unless the program ends with 0. When the caller is
    cancelled the program gets a moment to end. Raises TimeoutError after `timeout` seconds, OSError.
    """
    process = _Process(command, environment, stdin, limit)
    ended = [process.completed]
    try:
        if not (await asyncio.wait(ended, timeout=timeout))[0]:
            raise TimeoutError
        return process.completed.result()
    except asyncio.CancelledError:
        await asyncio.wait(ended, timeout=GRACE)
        raise
    finally:
        if not process.completed.done():
            process.kill()
            await asyncio.wait(ended, timeout=_KILL_WAIT)


class _Process:
    """A running program. Its descriptors live until it ends, which can be later than anybody waits."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], stdin: bytes, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.completed: asyncio.Future[Completed] = self._loop.create_future()
        self._truncated = False
        with contextlib.ExitStack() as undo:
            self._stdout, write_stdout = _pipe(limit, undo)
            self._stderr, write_stderr = _pipe(MAX_STDERR, undo)
            with _file_of(stdin) as read_stdin, _closing(write_stdout), _closing(write_stderr):
                self._pid = _spawn(command, environment, read_stdin, write_stdout, write_stderr)
            self._pidfd = os.pidfd_open(self._pid)
            undo.callback(os.close, self._pidfd)
            self._open = undo.pop_all()
        self._loop.add_reader(self._stdout.fd, self._read_stdout)
        self._loop.add_reader(self._stderr.fd, self._read_stderr)
        self._loop.add_reader(self._pidfd, self._ended)

    def kill(self) -> None:
        """End the whole process group. Only while its leader has not been reaped."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    def _read_stdout(self) -> None:
        if not self._stdout.read():
            self._loop.remove_reader(self._stdout.fd)
        elif self._stdout.full:
            self._loop.remove_reader(self._stdout.fd)
            self._truncated = True
            self.kill()

    def _read_stderr(self) -> None:
        if not self._stderr.read():
            self._loop.remove_reader(self._stderr.fd)

    def _ended(self) -> None:
        for fd in (self._stdout.fd, self._stderr.fd, self._pidfd):
            self._loop.remove_reader(fd)
        self._stdout.read()
        self._stderr.read()
        exited = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
        assert exited is not None
        code = exited.si_status if exited.si_code == os.CLD_EXITED else -exited.si_status
        if code:
            self.kill()  # what the leader has left behind; the group's number is ours until it is reaped
        os.waitpid(self._pid, 0)
        self._open.close()
        self.completed.set_result(
            Completed(
                code=code,
                stdout=bytes(self._stdout.data),
                stderr=bytes(self._stderr.data),
                truncated=self._truncated or self._stdout.full,
            )
        )


class _Output:
    """The end of a program's output that we read; it keeps `limit` bytes."""

    def __init__(self, fd: int, limit: int) -> None:
        self.fd = fd
        self.data = bytearray()
        self.full = False
        self._limit = limit

    def read(self) -> bool:
        """Take what a pipe can hold, if it is there; False at the end."""
        try:
            chunk = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return True
        room = self._limit - len(self.data)
        self.data += chunk[:room]
        self.full |= len(chunk) > room
        return bool(chunk)


def _pipe(limit: int, undo: contextlib.ExitStack) -> tuple[_Output, int]:
    """The output and the descriptor for the program to write to; the latter is the caller's."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_fd, False)
    undo.callback(os.close, read_fd)
    return _Output(read_fd, limit), write_fd


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _file_of(data: bytes) -> Iterator[int]:
    """A descriptor to read `data` from; memory, since a pipe would want a writer for more than 64 KiB."""
    fd = os.memfd_create("stdin")
    with _closing(fd):
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd


def _spawn(command: Sequence[str], environment: Mapping[str, str], stdin: int, stdout: int, stderr: int) -> int:
    return os.posix_spawn(
        command[0],
        list(command),
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate((stdin, stdout, stderr))],
        setpgroup=0,
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores them, and that would be inherited
    )
