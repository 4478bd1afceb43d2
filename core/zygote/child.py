"""A forked child: from the fork to its exit."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Never

from core.linux import prctl
from core.linux.fork import after_fork
from core.log import get_logger
from core.zygote import jobs
from core.zygote.wire import describe_error, encode_line

log = get_logger(__name__)

_MAX_FD = 1 << 20  # above any RLIMIT_NOFILE in use; close_range(2) does not mind


def run(entry: str, channel: int, fds: Sequence[int], *, parent: int, detach: bool) -> Never:
    """Be the child of `parent`: do the job behind `entry` and exit. `channel` is ours, `fds` are the job's."""
    code = 1
    try:
        if detach:
            code = _run_detached(entry, channel, fds)
        else:
            _become_own_process(keep={channel, *fds}, parent=parent)
            with socket.socket(fileno=channel) as sock:
                code = _run(entry, sock, fds)
    except BrokenPipeError:
        log.info("job ended after its caller", job=entry)
    except BaseException:
        log.exception("job failed", job=entry)
    finally:
        os._exit(code)


def _become_own_process(keep: Iterable[int], *, parent: int) -> None:
    after_fork()
    _close_all_but(keep)
    prctl.set_thp_disable(False)
    prctl.set_pdeathsig(signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the line above
        os._exit(1)
    gc.enable()


def _close_all_but(keep: Iterable[int]) -> None:
    low = 3
    for fd in sorted(keep):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, _MAX_FD)


def _run(entry: str, channel: socket.socket, fds: Sequence[int]) -> int:
    def report(message: Mapping[str, Any]) -> None:
        channel.sendall(encode_line({"progress": message}))

    try:
        result = jobs.load(entry)(_read_args(channel), fds, report)
        channel.sendall(encode_line({"result": result or {}}))
    except Exception as exc:  # noqa: BLE001 whatever it is, the caller shall know
        channel.sendall(encode_line(describe_error(exc)))
        return 1
    return 0


def _run_detached(entry: str, channel: int, fds: Sequence[int]) -> int:
    """Nothing here that costs memory, which a long life may be spared: the job sees to the rest."""
    _close_all_but((channel, *fds))
    os.setsid()
    return jobs.load_detached(entry)(channel, fds)


def _read_args(channel: socket.socket) -> Mapping[str, Any]:
    data = bytearray()
    while not data.endswith(b"\n"):
        part = channel.recv(1 << 16)
        if not part:
            raise EOFError("the daemon went away before the arguments were complete")
        data += part
    args: Mapping[str, Any] = json.loads(data)
    return args
