"""A pod's user namespace, made together with the namespaces that it owns.

A process that enters a user namespace cannot come back. So a child makes them, and waits while the shim maps its ids
and pins what it has made; it ends with the shim's end of the socket, whatever happens to the shim.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Never

from core.api.crisp_shim_pb2 import IdMapping
from core.errdefs import InvalidArgument, ResourceExhausted
from core.linux.ns import CLONE_NEWUSER, setns, unshare

_ERRNO = 8  # bytes; its decimal digits
_MADE = b"0"


@contextlib.contextmanager
def user_namespace(flags: int, uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> Iterator[int]:
    """A process in a new user namespace with these mappings, and in new namespaces `flags` that it owns.

    Yields its pid, good inside the block; whatever is not pinned by then goes with it.
    Raises InvalidArgument (mappings), ResourceExhausted (user.max_*_namespaces), OSError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()  # noqa: TID251 - the shim has one thread
    if pid == 0:
        ours.close()
        _be_owner(flags, theirs)
    theirs.close()
    try:
        with ours:
            _raise_for(ours.recv(_ERRNO))
            _map(pid, "uid_map", uids)
            _map(pid, "gid_map", gids)
            yield pid
    finally:
        os.waitpid(pid, 0)


def enter(path: str) -> None:
    """Be root of the user namespace pinned at `path` from now on, without any right outside of it.

    The ids are changed, too: root's own would still be the owner of the node's files.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    setns(fd, CLONE_NEWUSER)
    os.close(fd)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _be_owner(flags: int, sock: socket.socket) -> Never:
    try:
        unshare(CLONE_NEWUSER | flags)  # unshare(2): the user namespace comes first and owns the others
        sock.send(_MADE)
        sock.recv(1)
    except OSError as exc:
        sock.send(str(exc.errno).encode())
    finally:
        os._exit(0)


def _raise_for(answer: bytes) -> None:
    number = int(answer or errno.EPIPE)
    if number in {errno.ENOSPC, errno.EUSERS}:
        raise ResourceExhausted("user namespace: the node has too many, see the sysctls user.max_*_namespaces")
    if number:
        raise OSError(number, f"user namespace: {os.strerror(number)}")


def _map(pid: int, name: str, mappings: Sequence[IdMapping]) -> None:
    text = "".join(f"{line.container_id} {line.host_id} {line.length}\n" for line in mappings)
    fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())  # in one piece: user_namespaces(7)
    except OSError as exc:
        raise InvalidArgument(f"{name} {text.strip()!r}: {exc.strerror}") from exc
    finally:
        os.close(fd)
