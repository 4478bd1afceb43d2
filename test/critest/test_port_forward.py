"""Port-forward as kubectl's users meet it: a raw SPDY client, a real daemon, a server inside the pod's network."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from core.network.netns import socket_in
from cri import api
from cri.streaming.spdy.frames import Data, RstStream, Status
from rig.cri_client import CriClient
from rig.node import Node, wait_until
from rig.spdy_client import HttpClient, SpdyClient, upgrade

if TYPE_CHECKING:
    from conftest import Pods

pytestmark = pytest.mark.root
PROTOCOL = "portforward.k8s.io"


def netns_of(client: CriClient, pod: str) -> str:
    status = client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod, verbose=True))
    return str(json.loads(status.info["info"])["namespaces"].get("network", ""))


def echo(connection: socket.socket) -> None:
    """Send everything back, the end included."""
    while data := connection.recv(65536):
        connection.sendall(data)


@contextlib.contextmanager
def serving(
    netns: str, behave: Callable[[socket.socket], None] = echo, family: socket.AddressFamily = socket.AF_INET
) -> Iterator[int]:
    """A server on a loopback of the pod; its port."""
    listener = socket_in(netns, family, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    listener.listen(128)

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            behave(connection)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=[listener.accept()[0]], daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def url(client: CriClient, pod: str) -> str:
    return str(client.PortForward(api.PortForwardRequest(pod_sandbox_id=pod)).url)


@pytest.fixture
def pod(client: CriClient, node: Node, pods: Pods) -> str:
    return pods.run(node.pod())


@pytest.fixture
def netns(client: CriClient, pod: str) -> str:
    return netns_of(client, pod)


def talk(session: SpdyClient, port: int, request: int, words: bytes) -> bytes:
    """What the server answers to `words`, and that it has ended without a complaint."""
    error, data = session.forward(port, request)
    session.send(Data(stream_id=data, data=words, fin=True))
    session.until_ended(data, error)
    assert not session.data[error], session.data[error]
    return bytes(session.data.pop(data))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_bytes_reach_a_port_on_either_loopback(
    client: CriClient, pod: str, netns: str, family: socket.AddressFamily
) -> None:
    with serving(netns, family=family) as port, SpdyClient(url(client, pod), PROTOCOL) as session:
        assert session.headers["x-stream-protocol-version"] == PROTOCOL
        assert talk(session, port, 0, b"hello") == b"hello"
        assert talk(session, port, 1, b"again") == b"again"


def test_a_pod_on_the_nodes_network_is_reached_there(client: CriClient, node: Node, pods: Pods) -> None:
    options = api.NamespaceOption(network=api.NamespaceMode.NODE)
    pod = pods.run(node.pod(security_context=api.LinuxSandboxSecurityContext(namespace_options=options)))
    with serving("") as port, SpdyClient(url(client, pod), PROTOCOL) as session:
        assert talk(session, port, 0, b"node") == b"node"


def test_a_megabyte_goes_both_ways_at_once(client: CriClient, pod: str, netns: str) -> None:
    words = os.urandom(1 << 20)
    with serving(netns) as port, SpdyClient(url(client, pod), PROTOCOL) as session:
        error, data = session.forward(port, 0)

        def send() -> None:
            for at in range(0, len(words), 1 << 15):
                session.send(Data(stream_id=data, data=words[at : at + (1 << 15)]))
            session.send(Data(stream_id=data, fin=True))

        sender = threading.Thread(target=send)
        sender.start()
        session.until_ended(data, error)
        sender.join()
        assert bytes(session.data[data]) == words
        assert session.credit[data] + session.credit[0]  # a client with windows could have gone on, too


def test_an_end_is_an_end_of_one_direction_only(client: CriClient, pod: str, netns: str) -> None:
    def answer_at_the_end(connection: socket.socket) -> None:
        size = 0
        while data := connection.recv(65536):
            size += len(data)
        connection.sendall(b"%d bytes" % size)

    with serving(netns, answer_at_the_end) as port, SpdyClient(url(client, pod), PROTOCOL) as session:
        assert talk(session, port, 0, b"x" * 1000) == b"1000 bytes"


def test_a_refused_connection_is_told_on_its_error_stream(client: CriClient, pod: str, netns: str) -> None:
    with serving(netns) as closed:
        pass
    with serving(netns) as port, SpdyClient(url(client, pod), PROTOCOL) as session:
        error, data = session.forward(closed, 0)
        session.until_ended(error, data)
        assert f"error forwarding port {closed} to pod {pod}" in session.data[error].decode()
        assert "127.0.0.1: Connection refused, ::1: Connection refused" in session.data[error].decode()
        assert talk(session, port, 1, b"others go on") == b"others go on"


def test_a_connection_that_the_pod_resets_does_not_end_the_session(client: CriClient, pod: str, netns: str) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with (
        serving(netns, reset) as bad,
        serving(netns) as port,
        SpdyClient(url(client, pod), PROTOCOL) as session,
    ):
        good_error, good = session.forward(port, 0)
        error, data = session.forward(bad, 1)
        session.send(Data(stream_id=data, data=b"die"))
        session.until_ended(data, error)
        assert not session.data[error]  # kubectl gives up the whole session at any word here
        session.send(Data(stream_id=good, data=b"alive", fin=True))
        session.until_ended(good, good_error)
        assert session.data[good] == b"alive"


def test_a_stream_that_the_client_resets_ends_its_connection_in_the_pod(
    client: CriClient, pod: str, netns: str
) -> None:
    ended = threading.Event()

    def watch(connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            echo(connection)
        ended.set()

    with serving(netns, watch) as port, SpdyClient(url(client, pod), PROTOCOL) as session:
        _, data = session.forward(port, 0)
        session.send(Data(stream_id=data, data=b"x"))
        session.until(lambda: session.data[data])
        session.send(RstStream(stream_id=data, status=Status.CANCEL))
        assert ended.wait(10)


def test_connections_end_with_their_client(client: CriClient, pod: str, netns: str) -> None:
    ended = threading.Event()

    def watch(connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            echo(connection)
        ended.set()

    with serving(netns, watch) as port:
        with SpdyClient(url(client, pod), PROTOCOL) as session:
            _, data = session.forward(port, 0)
            session.send(Data(stream_id=data, data=b"x"))
            session.until(lambda: session.data[data])
        assert ended.wait(10)


def test_a_thousand_short_connections_leave_nothing_open(client: CriClient, node: Node, pod: str, netns: str) -> None:
    assert node.process
    descriptors = Path(f"/proc/{node.process.pid}/fd")
    with serving(netns) as port, SpdyClient(url(client, pod), PROTOCOL) as session:
        assert talk(session, port, 0, b"first") == b"first"
        before = len(list(descriptors.iterdir()))
        for number in range(1, 1001):
            assert talk(session, port, number, b"%d" % number) == b"%d" % number
        wait_until(lambda: len(list(descriptors.iterdir())) <= before, "descriptors as before")


def test_a_stream_with_wrong_headers_is_refused_and_no_other(client: CriClient, pod: str, netns: str) -> None:
    with serving(netns) as port, SpdyClient(url(client, pod), PROTOCOL) as session:
        for wrong in (*({"port": text} for text in ("0", "65536", "-1", "http", "", "\xb2")), {"streamtype": "other"}):
            stream = session.open(**{"streamtype": "data", "port": str(port), "requestid": "0", **wrong})
            assert session.reset[stream] == Status.REFUSED_STREAM, wrong
        assert talk(session, port, 1, b"fine") == b"fine"


def test_clients_without_request_ids_are_served(client: CriClient, pod: str, netns: str) -> None:
    with serving(netns) as port, SpdyClient(url(client, pod), PROTOCOL) as session:
        session.open(streamtype="error", port=str(port))
        data = session.open(streamtype="data", port=str(port))
        session.send(Data(stream_id=data, data=b"old", fin=True))
        session.until_ended(data)
        assert session.data[data] == b"old"


def test_a_url_is_good_for_one_client_and_one_kind(client: CriClient, node: Node, pod: str) -> None:
    where = url(client, pod)
    with HttpClient(where.replace("/portforward/", "/exec/")) as wrong:
        assert wrong.ask(upgrade("v4.channel.k8s.io"))[0] == 404
        assert wrong.closed()
    with HttpClient(where) as used:
        assert used.ask(upgrade(PROTOCOL))[0] == 404
    token = urllib.parse.urlsplit(where).path.rsplit("/", 1)[1]
    assert token not in (node.base / "crispd.log").read_text()


def test_the_server_listens_on_loopback(client: CriClient, pod: str) -> None:
    assert urllib.parse.urlsplit(url(client, pod)).hostname == "127.0.0.1"


def test_a_stopped_pod_forwards_nothing(client: CriClient, pod: str) -> None:
    client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    with pytest.raises(grpc.RpcError) as refused:
        url(client, pod)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
