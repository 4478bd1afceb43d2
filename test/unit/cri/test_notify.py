"""What is said to systemd, whether it listens or not."""

import socket
import time

import pytest

from cri.notify import PATIENCE, notify


@pytest.fixture
def listener(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield heard


def test_what_is_said_is_heard(listener):
    notify("READY=1")
    assert listener.recv(100) == b"READY=1"


def test_a_listener_that_does_not_listen_holds_up_nobody(listener):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, pytest.raises(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"", listener.getsockname())
    began = time.monotonic()
    notify("WATCHDOG=1")
    assert time.monotonic() - began < 100 * PATIENCE


def test_without_a_listener_nothing_happens(listener, tmp_path, monkeypatch):
    (tmp_path / "notify").unlink()
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")
