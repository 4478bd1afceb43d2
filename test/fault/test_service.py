"""crispd as a service: what systemd hears of it, and what a reload does."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from rig.cri_client import CriClient
from rig.node import wait_until
from rig.patience import patient

if TYPE_CHECKING:
    from rig.node import Node

pytestmark = pytest.mark.root


@pytest.fixture
def systemd(node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where is heard what the node says that is to be started again."""
    node.end(signal.SIGTERM)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(node.base / "notify"))
        heard.settimeout(patient(20))
        monkeypatch.setenv("NOTIFY_SOCKET", str(node.base / "notify"))
        yield heard


def test_systemd_hears_of_a_daemon_as_long_as_cri_answers(
    node: Node, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "900000")
    node.start().close()
    assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    os.rename(node.base / "run/crisp.sock", node.base / "run/hidden")
    wait_until(lambda: "CRI does not answer" in (node.base / "crispd.log").read_text(), "the silence is noticed")
    systemd.settimeout(0.9)
    with pytest.raises(TimeoutError):
        [systemd.recv(100) for _ in range(10)]  # a few are on their way, then there is silence
    systemd.settimeout(patient(20))
    os.rename(node.base / "run/hidden", node.base / "run/crisp.sock")
    assert systemd.recv(100) == b"WATCHDOG=1"


def test_a_reload_changes_what_it_can_and_a_wrong_file_changes_nothing(node: Node, systemd: socket.socket) -> None:
    def told(text: str) -> bool:
        return text in (node.base / "crispd.log").read_text()

    node.start().close()
    path = node.base / "config.toml"
    assert node.process
    node.configure('[log]\nlevel = "debug"\n[streaming]\nport = 1')
    node.process.send_signal(signal.SIGHUP)
    wait_until(lambda: told("wait for a restart keys=streaming.port") and told("configuration reloaded"), "it is read")
    path.write_text("nonsense")
    node.process.send_signal(signal.SIGHUP)
    wait_until(lambda: told("configuration not reloaded"), "it is refused")
    heard = [systemd.recv(100).partition(b"\n")[0] for _ in range(5)]
    assert heard == [b"READY=1", *[b"RELOADING=1", b"READY=1"] * 2]
    node.configure("")
    with CriClient(str(node.base / "run/crisp.sock")) as client:
        client.wait_ready()
