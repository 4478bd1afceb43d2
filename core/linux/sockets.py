"""Unix sockets: who is at the other end, and descriptors that travel."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass

_UCRED = struct.Struct("=iII")  # struct ucred, linux/socket.h
_INT = struct.calcsize("i")
_CUT = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ucred:
    pid: int
    uid: int
    gid: int


def peer_credentials(sock: socket.socket) -> Ucred:
    """Who called connect(2), or listen(2) or socketpair(2), on the other end."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Ucred(pid=pid, uid=uid, gid=gid)


def recv_fds(sock: socket.socket, size: int, max_fds: int) -> tuple[bytes, list[int]]:
    """Receive up to `size` bytes with descriptors, close-on-exec from the first moment (`socket.recv_fds` is not).

    Raises ValueError, and closes what came, when there were more than fit.
    """
    data, ancillary, flags, _ = sock.recvmsg(size, socket.CMSG_SPACE(max_fds * _INT), socket.MSG_CMSG_CLOEXEC)
    fds = [
        fd
        for level, kind, payload in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for (fd,) in struct.iter_unpack("i", payload[: len(payload) - len(payload) % _INT])
    ]
    if flags & _CUT:
        for fd in fds:
            os.close(fd)
        raise ValueError(f"message of more than {size} bytes or {max_fds} descriptors")
    return data, fds
