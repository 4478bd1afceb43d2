"""The daemon's side of the zygote: starts it, asks it for children, talks with them, starts it again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from core.errdefs import DeadlineExceeded, Internal, InvalidArgument, Unavailable
from core.log import get_logger
from core.steps import step
from core.zygote.jobs import JOBS
from core.zygote.link import Forked, Link
from core.zygote.wire import MAX_LINE, Request, encode_line, error_of
from core.zygote.zygote import Progress, Zygote

log = get_logger(__name__)

_KILL_WAIT = 1.0  # seconds until a killed child counts as stuck in the kernel and is left behind
_STOP_WAIT = 5.0  # seconds until a zygote that was asked to end is killed


class ZygoteProcess:
    """A zygote that comes back: when one dies, its jobs fail with Unavailable and a new one is started.

    At once if it had worked; else with the next job, so that a broken one does not spin.
    """

    def __init__(
        self,
        *,
        jobs: Mapping[str, str] = JOBS,
        log_level: str = "info",
        log_style: str = "text",
        open_files: int | None = None,
    ) -> None:
        """`open_files` is the soft limit that children, and so containers, have; None: ours."""
        self._jobs = jobs
        config = {"jobs": dict(jobs), "level": log_level, "style": log_style}
        limits = {} if open_files is None else {"open_files": open_files}
        self._arguments = (json.dumps({**config, **limits}),)
        self._link: Link | None = None
        self._stopped = True

    async def start(self) -> None:
        """Start the process; jobs may be asked for at once and wait until it has loaded. If not, they try again."""
        self._stopped = False
        self._connect_again()

    async def stop(self) -> None:
        """End the process and its jobs, but not the detached ones. Idempotent."""
        self._stopped = True
        link, self._link = self._link, None
        if link is None:
            return
        link.close()
        try:
            async with asyncio.timeout(_STOP_WAIT):
                await asyncio.shield(link.exited)
        except TimeoutError:
            os.kill(link.pid, signal.SIGKILL)  # ours and not reaped: the pid cannot be another's
            await link.exited

    async def kill(self) -> None:
        """Kill the present zygote as if it had died by itself; return when it has."""
        if link := self._link:
            os.kill(link.pid, signal.SIGKILL)  # ours and not reaped: the pid cannot be another's
            await asyncio.shield(link.exited)

    @property
    def pid(self) -> int:
        """Of the present zygote. Raises Unavailable when there is none."""
        return self._connect().pid

    async def run(
        self,
        job: str,
        args: Mapping[str, Any],
        *,
        fds: Sequence[int] = (),
        deadline: float,
        progress: Progress | None = None,
    ) -> Mapping[str, Any]:
        """See `Zygote.run`. When it returns or raises the child is dead, unless it is stuck in the kernel."""
        channel, forked = self._fork(job, fds, detach=False)
        with channel, step(f"process {job}"):
            try:
                async with asyncio.timeout(deadline) as timeout:
                    result = await _converse(channel, args, progress)
                    if result is None:
                        raise await _died(job, forked)
            except BaseException as exc:
                await asyncio.shield(_kill(forked))
                if isinstance(exc, TimeoutError) and timeout.expired():
                    raise DeadlineExceeded(f"job {job} was killed after {deadline:g} seconds") from None
                raise
            _let_go(forked)
            return result

    async def detach(self, job: str, args: Mapping[str, Any], *, fds: Sequence[int] = ()) -> int:
        """See `Zygote.detach`. When cancelled the child is killed."""
        channel, forked = self._fork(job, fds, detach=True)
        with channel, step(f"fork {job}"):
            try:
                await asyncio.get_running_loop().sock_sendall(channel, encode_line(args))
                child = await forked
            except ConnectionError as exc:
                _let_go(forked)
                raise Unavailable(f"job {job} died as it started") from exc
            except BaseException:
                _let_go(forked)
                raise
        os.close(child.pidfd)
        return child.pid

    def _connect(self) -> Link:
        if self._stopped:
            raise Unavailable("the zygote is stopped")
        if self._link is None:
            try:
                self._link = Link(self._arguments, self._lost)
            except OSError as exc:
                raise Unavailable(f"the zygote cannot be started: {exc}") from exc
        return self._link

    def _connect_again(self) -> None:
        try:
            self._connect()
        except Unavailable as exc:
            log.error("no zygote", error=exc)

    def _lost(self, link: Link) -> None:
        if self._stopped:
            return
        log.warning("zygote died", pid=link.pid)
        self._link = None
        if link.has_worked:
            self._connect_again()

    def _fork(self, job: str, fds: Sequence[int], *, detach: bool) -> tuple[socket.socket, asyncio.Future[Forked]]:
        if job not in self._jobs:
            raise InvalidArgument(f"no job {job!r}")
        channel, theirs = socket.socketpair()
        channel.setblocking(False)
        with theirs:
            try:
                return channel, self._connect().fork(Request(job=job, detach=detach), [theirs.fileno(), *fds])
            except BaseException:
                channel.close()
                raise


_fits: type[Zygote] = ZygoteProcess


async def _converse(
    channel: socket.socket, args: Mapping[str, Any], progress: Progress | None
) -> Mapping[str, Any] | None:
    """Send `args` and return the result, None when the child ends without one. Raises the error it reports."""
    with contextlib.suppress(ConnectionError):  # it died; reading will tell
        await asyncio.get_running_loop().sock_sendall(channel, encode_line(args))
    async for line in _lines(channel):
        message = json.loads(line)
        if "error" in message:
            raise error_of(message)
        if "result" in message:
            result: Mapping[str, Any] = message["result"]
            return result
        if progress:
            progress(message["progress"])
    return None


async def _lines(channel: socket.socket) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) <= MAX_LINE:
        try:
            part = await loop.sock_recv(channel, 1 << 16)
        except ConnectionError:
            return
        if not part:
            return
        data += part
        *lines, rest = data.split(b"\n")
        for line in lines:
            yield bytes(line)
        data = rest
    raise Internal(f"a job sent a line of more than {MAX_LINE} bytes")


async def _died(job: str, forked: asyncio.Future[Forked]) -> Exception:
    """Why there is no result. Raises ResourceExhausted or Unavailable when there was no child at all."""
    status = await asyncio.shield((await asyncio.shield(forked)).exited)
    if status is None:
        return Unavailable(f"job {job} went with the zygote, which is being restarted")
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
    return Internal(f"job {job} {how} before it had a result{': out of memory?' if status == -signal.SIGKILL else ''}")


async def _kill(forked: asyncio.Future[Forked]) -> None:
    """Kill the child and wait until it can do nothing any more."""
    await asyncio.wait([forked], timeout=_KILL_WAIT)  # it may work already, before we hear that it is there
    if forked.done() and not forked.cancelled() and not forked.exception():
        child = forked.result()
        child.kill()
        await asyncio.wait([child.exited], timeout=_KILL_WAIT)
    _let_go(forked)


def _let_go(forked: asyncio.Future[Forked]) -> None:
    """Kill the child, now or as soon as it exists, and close its pidfd."""
    if not forked.done():
        forked.cancel()
    elif not forked.cancelled() and not forked.exception():
        forked.result().kill()
        os.close(forked.result().pidfd)
