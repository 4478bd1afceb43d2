"""NRI plugins that misbehave: pods go on, nothing is lost, nothing is left."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from core.api import nri_pb2, nri_types_pb2
from core.api.ttrpc_pb2 import Request
from cri import api
from rig.cri_calls import verbose
from rig.cri_client import CriClient
from rig.node import wait_until
from rig.nri_plugin import FRAME, PIECE, PLUGIN, RUNTIME, NriPlugin, Refused, connected
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root


@pytest.fixture
def nri() -> bool:
    return True


def path(node: Node) -> str:
    return str(node.base / "nri/nri.sock")


def log(node: Node) -> str:
    return (node.base / "crispd.log").read_text()


def silent(_request: Any) -> None:
    """Never answer."""
    threading.Event().wait()


GARBAGE = (
    b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
    PIECE.pack(RUNTIME, 2**32 - 1),
    PIECE.pack(RUNTIME, FRAME.size) + FRAME.pack(2**32 - 1, 1, 1, 0),
    PIECE.pack(RUNTIME, FRAME.size + 4) + FRAME.pack(4, 1, 1, 0) + b"\xff" * 4,
    PIECE.pack(PLUGIN, FRAME.size + 4) + FRAME.pack(4, 1, 77, 0) + b"\xff" * 4,
    PIECE.pack(9, 4) + b"\xff" * 9004,
)
"""A protocol of others, a huge piece, a huge frame, no message, no type of frame, an unknown connection."""


def test_garbage_is_hung_up_on(node: Node, client: CriClient) -> None:
    for garbage in GARBAGE:
        with connected(path(node)) as connection:
            connection.settimeout(patient(10))
            connection.sendall(garbage)
            with contextlib.suppress(ConnectionResetError):  # an end, too
                assert connection.recv(1) == b""
    assert client.Version(api.VersionRequest()).runtime_name == "crisp"


def test_who_does_not_register_is_hung_up_on_and_keeps_nobody(node: Node, client: CriClient, pods: Pods) -> None:
    with connected(path(node)) as connection:
        connection.settimeout(patient(20))
        pods.start("sleep 100")
        assert connection.recv(1) == b""
    assert "did not register within 2 s" in log(node)


def test_a_strange_name_is_refused(node: Node, client: CriClient) -> None:
    for index, name in (("7", "a"), ("ab", "a"), ("100", "a"), ("10", ""), ("10", "a/b"), ("10", "a\nb")):
        request = nri_pb2.RegisterPluginRequest(plugin_idx=index, plugin_name=name)
        with NriPlugin.connect(path(node)) as plugin, pytest.raises(Refused, match="want a name"):
            plugin.call("RegisterPlugin", request, nri_pb2.Empty)


@pytest.mark.parametrize("method", ["Configure", "Synchronize", "CreateContainer", "StopContainer"])
def test_who_hangs_is_dropped_and_named_and_others_go_on(
    node: Node, client: CriClient, pods: Pods, method: str
) -> None:
    hanging = NriPlugin.connect(path(node), {method: silent})
    with hanging, NriPlugin.connect(path(node)).register("20", "good") as good:
        request = nri_pb2.RegisterPluginRequest(plugin_idx="10", plugin_name="bad")
        hanging.call("RegisterPlugin", request, nri_pb2.Empty)
        if method == "Synchronize":
            hanging.wait("Synchronize")
        began = time.monotonic()
        _, container = pods.start("exit 0")
        hanging.wait_dropped()
        assert time.monotonic() - began < 8
        assert good.wait("StopContainer").container.id == container
    assert any("NRI plugin dropped" in line and "plugin=10-bad" in line for line in log(node).splitlines())


def test_pods_at_the_same_time_wait_for_one_that_hangs_once(node: Node, client: CriClient, pods: Pods) -> None:
    with NriPlugin.connect(path(node), {"RunPodSandbox": silent}).register():
        began = time.monotonic()
        runs = [threading.Thread(target=pods.run, args=(node.pod(),)) for _ in range(6)]
        for one in runs:
            one.start()
        for one in runs:
            one.join()
        assert time.monotonic() - began < 4  # one second of patience, and not six
    assert len(client.ListPodSandbox(api.ListPodSandboxRequest()).items) == 6


def test_who_leaves_in_the_middle_of_a_creation_takes_nothing_along(
    node: Node, client: CriClient, pods: Pods
) -> None:
    ends: list[Callable[[], None]] = []

    def leave(_request: Any) -> None:
        ends[0]()

    leaving = NriPlugin.connect(path(node), {"CreateContainer": leave}).register()
    ends.append(lambda: leaving._connection.shutdown(socket.SHUT_RDWR))
    with leaving:
        _, container = pods.start("sleep 100")
    status = client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status
    assert status.state == api.CONTAINER_RUNNING
    assert "NRI plugin left plugin=00-test" in log(node)


def test_an_adjustment_that_makes_no_sense_fails_one_container_and_leaves_nothing(
    node: Node, client: CriClient, pods: Pods
) -> None:
    adjust = nri_types_pb2.ContainerAdjustment(
        mounts=[nri_types_pb2.Mount(destination="/x", source="/nonexistent", options=["rbind"])]
    )
    answers = {"CreateContainer": lambda _request: nri_pb2.CreateContainerResponse(adjust=adjust)}
    with NriPlugin.connect(path(node), answers).register(), pytest.raises(grpc.RpcError, match="nonexistent"):
        pods.start("sleep 100")
    for one in client.ListContainers(api.ListContainersRequest()).containers:
        assert one.state == api.CONTAINER_EXITED  # StartError, as the OCI runtime said


def test_a_big_answer_is_taken_and_a_bigger_one_ends_the_plugin(node: Node, client: CriClient, pods: Pods) -> None:
    def answer(size: int) -> Any:
        adjust = nri_types_pb2.ContainerAdjustment(annotations={"big": "x" * size})
        return {"CreateContainer": lambda _request: nri_pb2.CreateContainerResponse(adjust=adjust)}

    with NriPlugin.connect(path(node), answer(3 << 20)).register():
        _, container = pods.start("sleep 100")
    assert len(verbose(client, container)["runtimeSpec"]["annotations"]["big"]) == 3 << 20
    with NriPlugin.connect(path(node), answer(5 << 20)).register() as huge:
        pods.start("sleep 100")
        huge.wait_dropped()


def test_a_flood_of_connections_is_bounded(node: Node, client: CriClient, pods: Pods) -> None:
    flood = [connected(path(node)) for _ in range(200)]
    try:
        wait_until(lambda: log(node).count("NRI plugin refused") >= 136, "the rest is refused")
        pods.start("sleep 100")
    finally:
        for one in flood:
            one.close()
    wait_until(lambda: _descriptors(node) < 100, "their descriptors are closed")
    with NriPlugin.connect(path(node)).register():
        pass


def _descriptors(node: Node) -> int:
    assert node.process
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def test_a_flood_of_updates_is_bounded(node: Node, client: CriClient, pods: Pods) -> None:
    _, container = pods.start("sleep 100")
    plugin = NriPlugin.connect(path(node)).register()
    update = nri_types_pb2.ContainerUpdate(container_id=container)
    update.linux.resources.memory.limit.value = 64 << 20
    request = nri_pb2.UpdateContainersRequest(update=[update] * 50)
    refusals: list[str] = []

    def ask() -> None:
        try:
            plugin.call("UpdateContainers", request, nri_pb2.UpdateContainersResponse)
        except Refused as exc:
            refusals.append(str(exc))

    with plugin:
        asking = [threading.Thread(target=ask) for _ in range(20)]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
    assert len(refusals) >= 10
    assert "wait for one to end" in refusals[0]


def test_bytes_one_at_a_time_are_a_plugin_too(node: Node, client: CriClient) -> None:
    request = nri_pb2.RegisterPluginRequest(plugin_idx="10", plugin_name="slow")
    envelope = Request(
        service="nri.pkg.api.v1alpha1.Runtime", method="RegisterPlugin", payload=request.SerializeToString()
    ).SerializeToString()
    frame = struct.pack(">IIBB", len(envelope), 1, 1, 0) + envelope
    with connected(path(node)) as connection:
        for byte in PIECE.pack(RUNTIME, len(frame)) + frame:
            connection.send(bytes((byte,)))
        connection.settimeout(patient(10))
        assert PIECE.unpack(connection.recv(8))[0] == RUNTIME
