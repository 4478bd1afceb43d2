"""What others than root see of the daemon's directories and sockets."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from cri import api
from rig.cri_calls import run
from rig.cri_client import CriClient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
NOBODY = 65534


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """With another user's rights to files, and to connect; the groups are root's own, which own nothing."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def listable(directories: list[str]) -> list[str]:
    """Those that another user can list."""
    found = []
    with as_nobody():
        for directory in directories:
            with contextlib.suppress(PermissionError):
                os.listdir(directory)
                found.append(directory)
    return found


def test_nobody_else_lists_any_directory_and_a_restart_mends_the_modes(node: Node, pods: Pods) -> None:
    """CVE-2021-41103, CVE-2024-25621."""
    pods.start("sleep 1000")
    before = os.umask(0)
    try:
        for path in (node.base, *node.base.parents[:-2]):
            path.chmod(0o755)  # the test's own; of the daemon's directories each must do its part
        ours = [(node.base / name) for name in ("root", "run", "run/etc", "run/containers", "run/sandboxes")]
        assert listable([path for top in ours[:2] for path, _, _ in os.walk(top)]) == []
        for path in ours:
            path.chmod(0o777)
        node.end(9)
        node.start().close()
        assert listable([path for top in ours[:2] for path, _, _ in os.walk(top)]) == []
    finally:
        os.umask(before)


def test_sockets_are_roots_alone_and_none_is_abstract(client: CriClient, node: Node, pods: Pods) -> None:
    """CVE-2020-15257: a container on the node's network sees abstract sockets; hazard "daemon socket"."""
    options = api.NamespaceOption(network=api.NamespaceMode.NODE, pid=api.NamespaceMode.CONTAINER)
    sandbox = node.pod(security_context=api.LinuxSandboxSecurityContext(namespace_options=options))
    sandbox.hostname = ""
    pod = pods.run(sandbox)
    config = node.container("sleep 1000")
    config.linux.security_context.namespace_options.CopyFrom(options)
    container = pods.create(pod, sandbox, config)
    client.StartContainer(api.StartContainerRequest(container_id=container))
    table = [line.split() for line in run(client, container, "cat /proc/net/unix").splitlines()]
    names = [line[7] for line in table if len(line) > 7]
    assert any(str(node.base) in name for name in names)
    assert [name for name in names if name.startswith("@") and ("crisp" in name or pod in name)] == []
    assert "No such file" in run(client, container, f"ls -d {node.base}/run")
    (bundle,) = (node.base / "run/sandboxes").iterdir()
    sockets = {path: path.stat().st_mode & 0o777 for path in (node.base / "run").rglob("*.sock")}
    assert set(sockets.values()) == {0o600, 0o660}
    for path, mode in sockets.items():
        kind = socket.SOCK_SEQPACKET if path.name == "streams.sock" else socket.SOCK_STREAM
        with socket.socket(socket.AF_UNIX, kind) as stranger, contextlib.chdir(path.parent):
            with as_nobody(), pytest.raises(PermissionError):
                stranger.connect(path.name)
            if path.parent != bundle:
                continue
            path.chmod(0o666)  # who gets past the modes is known by its user id
            bundle.chmod(0o711)
            with as_nobody():
                stranger.connect(path.name)
            stranger.settimeout(10)
            assert stranger.recv(1) == b""
            bundle.chmod(0o700)
            path.chmod(mode)
