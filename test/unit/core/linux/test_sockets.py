import os
import socket

import pytest

from core.linux.sockets import peer_credentials, recv_fds


def test_the_peer_of_a_socketpair_is_this_process():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        credentials = peer_credentials(ours)
    assert (credentials.pid, credentials.uid, credentials.gid) == (os.getpid(), os.getuid(), os.getgid())


def test_received_descriptors_are_closed_on_exec():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        os.set_inheritable(ours.fileno(), True)
        socket.send_fds(ours, [b"x"], [ours.fileno()])
        data, (fd,) = recv_fds(theirs, 10, 1)
    assert data == b"x"
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize(("size", "max_fds"), [(10, 1), (1, 4)])
def test_what_does_not_fit_is_refused_and_closed(size, max_fds):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(ours, [b"xy"], [ours.fileno()] * 3)
        with pytest.raises(ValueError, match="descriptors"):
            recv_fds(theirs, size, max_fds)
        assert len(os.listdir("/proc/self/fd")) == before
