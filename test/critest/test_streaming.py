"""Exec and attach as kubectl's users meet them: clients of both protocols, a real daemon, shim and container."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from cri import api
from cri.streaming.spdy.frames import Data
from rig.cri_client import CriClient
from rig.kubectl import Kubectl, attach_url, exec_url
from rig.memory import tree_of
from rig.node import Node, wait_until
from rig.websocket_client import connected, received

if TYPE_CHECKING:
    from conftest import Pods

pytestmark = pytest.mark.root
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
STDOUT, STDERR, ERROR, RESIZE = 1, 2, 3, 4


@pytest.fixture
def container(pods: Pods) -> str:
    return pods.start("sleep 1000")[1]


def pids_of(node: Node, word: str) -> list[int]:
    """Processes below the daemon's pods whose command line has `word`."""
    found = []
    for shim in node.processes():
        for pid in tree_of(shim):
            try:
                if word in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(pid)
            except OSError:
                continue
    return found


def test_a_command_reads_writes_and_its_exit_code_is_told(client: CriClient, container: str) -> None:
    kubectl = Kubectl(exec_url(client, container, "sh", "-c", "cat; echo err >&2; exit 3"), "stdin", "stdout", "stderr")
    kubectl.type(b"typed", end=True)
    status = kubectl.end()
    assert (kubectl.shown(), kubectl.shown("stderr")) == (b"typed", b"err\n")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


def test_a_terminal_has_the_clients_size(client: CriClient, container: str) -> None:
    script = 'until [ "$(stty size)" = "45 123" ]; do sleep 0.01; done; echo right'
    kubectl = Kubectl(exec_url(client, container, "sh", "-c", script, tty=True), "stdin", "stdout", "resize")
    kubectl.resize(123, 45)
    assert kubectl.end()["status"] == "Success"
    assert b"right" in kubectl.shown()


@pytest.mark.parametrize(("command", "code"), [("nosuch", "127"), ("/etc/passwd", "126")])
def test_a_command_that_cannot_be_executed_is_told_as_a_shell_does(
    client: CriClient, container: str, command: str, code: str
) -> None:
    kubectl = Kubectl(exec_url(client, container, command), "stdin", "stdout", "stderr")
    assert kubectl.end()["details"]["causes"] == [{"reason": "ExitCode", "message": code}]
    assert kubectl.shown("stderr").startswith(f'exec: "{command}": '.encode())
    terminal = Kubectl(exec_url(client, container, command, tty=True), "stdin", "stdout", "resize")
    assert terminal.end()["details"]["causes"] == [{"reason": "ExitCode", "message": code}]
    assert terminal.shown().startswith(f'exec: "{command}": '.encode())


def test_a_client_that_leaves_ends_its_command(client: CriClient, node: Node, container: str) -> None:
    kubectl = Kubectl(exec_url(client, container, "sh", "-c", "echo up; sleep 4242"), "stdin", "stdout", "stderr")
    kubectl.until_shown(b"up")
    assert pids_of(node, "4242")
    kubectl.session.close()
    wait_until(lambda: not pids_of(node, "4242"), "the command is gone")


def test_the_end_of_the_container_ends_its_execs(client: CriClient, container: str) -> None:
    kubectl = Kubectl(exec_url(client, container, "sh", "-c", "echo up; sleep 1000"), "stdin", "stdout", "stderr")
    kubectl.until_shown(b"up")
    client.StopContainer(api.StopContainerRequest(container_id=container, timeout=0))
    assert kubectl.end()["details"]["causes"] == [{"reason": "ExitCode", "message": "137"}]


def test_clients_of_an_attach_see_the_same_and_the_log_too(client: CriClient, node: Node, pods: Pods) -> None:
    config = node.container("while read line; do echo got $line; [ $line = two ] && break; done; echo bye")
    config.stdin = True
    pod, container = pods.start("", config=config)
    first = Kubectl(attach_url(client, container), "stdin", "stdout", "stderr")
    second = Kubectl(attach_url(client, container), "stdin", "stdout", "stderr")
    for number, kubectl in enumerate((first, second)):
        kubectl.type(b"%d\n" % number)
        kubectl.until_shown(b"got %d\n" % number)  # so it has joined
    first.type(b"one\n")
    for kubectl in (first, second):
        kubectl.until_shown(b"got one\n")
    second.session.close()
    first.type(b"two\n")
    assert first.end()["status"] == "Success"
    assert first.shown() == b"got 0\ngot 1\ngot one\ngot two\nbye\n"
    uid = client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod)).status.metadata.uid
    wait_until(lambda: "bye" in (node.logs / uid / "main.log").read_text(), "the log has it all")
    assert [line.split(" ", 3)[3] for line in (node.logs / uid / "main.log").read_text().splitlines()] == [
        "got 0",
        "got 1",
        "got one",
        "got two",
        "bye",
    ]


def test_attach_joins_a_terminal(client: CriClient, node: Node, pods: Pods) -> None:
    config = node.container("read line; echo got $line; read line")
    config.stdin, config.tty = True, True
    _, container = pods.start("", config=config)
    kubectl = Kubectl(attach_url(client, container, tty=True), "stdin", "stdout", "resize")
    kubectl.type(b"hello\n")
    kubectl.until_shown(b"got hello")
    kubectl.session.close()
    again = Kubectl(attach_url(client, container, tty=True), "stdin", "stdout", "resize")
    again.type(b"end\n")
    assert again.end()["status"] == "Success"


async def test_websocket_v5_reads_writes_and_tells_the_exit_code(client: CriClient, container: str) -> None:
    url = exec_url(client, container, "sh", "-c", "cat; echo err >&2; exit 3")
    async with connected(url, V5) as socket:
        await socket.send_bytes(b"\0typed")
        await socket.send_bytes(b"\xff\0")
        channels = await received(socket)
    assert (channels[STDOUT], channels[STDERR]) == (b"typed", b"err\n")
    assert json.loads(channels[ERROR])["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


def test_a_request_that_makes_no_sense_gets_no_url(client: CriClient, container: str) -> None:
    wrong = grpc.StatusCode.INVALID_ARGUMENT
    for request, code in (
        (api.ExecRequest(cmd=["x"], stdin=False), wrong),
        (api.ExecRequest(cmd=["x"], tty=True, stdout=True, stderr=True), wrong),
        (api.ExecRequest(stdout=True), wrong),
        (api.ExecRequest(cmd=["x"], stdout=True, container_id="nosuch"), grpc.StatusCode.NOT_FOUND),
        (api.AttachRequest(), wrong),
        (api.AttachRequest(tty=True, stderr=True), wrong),
    ):
        request.container_id = request.container_id or container
        with pytest.raises(grpc.RpcError) as refused:
            (client.Exec if isinstance(request, api.ExecRequest) else client.Attach)(request)
        assert refused.value.code() == code, request


def test_a_container_that_does_not_run_gets_no_clients(client: CriClient, container: str) -> None:
    client.StopContainer(api.StopContainerRequest(container_id=container, timeout=0))
    for call in (
        lambda: exec_url(client, container, "true"),
        lambda: attach_url(client, container),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def held(node: Node) -> tuple[int, int]:
    """Processes and descriptors of the daemon and its pods."""
    assert node.process
    daemon = node.process.pid
    pids = {daemon, *(pid for shim in node.processes() for pid in tree_of(shim))}
    return len(pids), sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (daemon, *node.processes()))


def wait_held(node: Node, before: tuple[int, int]) -> None:
    wait_until(lambda: all(now <= then for now, then in zip(held(node), before)), f"as before: {before}")


def test_sessions_cut_at_random_moments_leave_nothing(client: CriClient, node: Node, container: str) -> None:
    chance = random.Random(7)
    Kubectl(exec_url(client, container, "true"), "stdin", "stdout", "stderr").end()
    before = held(node)
    for number in range(60):
        tty = bool(number % 2)
        url = exec_url(client, container, "sh", "-c", "cat; sleep 5", tty=tty)
        kubectl = Kubectl(url, *(("stdin", "stdout", "resize") if tty else ("stdin", "stdout", "stderr")))
        kubectl.type(b"x" * chance.randrange(100_000))
        time.sleep(chance.random() / 20)  # the random moment
        kubectl.session.close()
    wait_held(node, before)


def test_sizes_for_a_command_that_never_runs_leave_nothing(client: CriClient, node: Node, container: str) -> None:
    """CVE-2022-23471."""
    Kubectl(exec_url(client, container, "true"), "stdin", "stdout", "stderr").end()
    before = held(node)
    for _ in range(20):
        kubectl = Kubectl(exec_url(client, container, "/nope", tty=True), "stdin", "stdout", "resize")
        sizes = b'{"Width":80,"Height":24}\n' * 10_000
        with contextlib.suppress(ConnectionError):
            kubectl.session.send(Data(stream_id=kubectl.ids["resize"], data=sizes))
        kubectl.session.close()
    wait_held(node, before)


def test_attaches_that_are_cut_leave_nothing_and_others_notice_nothing(
    client: CriClient, node: Node, pods: Pods
) -> None:
    """CVE-2025-64329."""
    config = node.container("while read line; do echo got $line; done")
    config.stdin = True
    _, container = pods.start("", config=config)
    stays = Kubectl(attach_url(client, container), "stdin", "stdout", "stderr")
    stays.type(b"0\n")
    stays.until_shown(b"got 0\n")
    before = held(node)
    for number in range(1, 101):
        cut = Kubectl(attach_url(client, container), "stdin", "stdout", "stderr")
        cut.session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        cut.session.close()
        stays.type(b"%d\n" % number)
    stays.until_shown(b"got 100\n")
    assert stays.shown() == b"".join(b"got %d\n" % number for number in range(101))
    wait_held(node, before)
    stays.session.close()


def test_clients_end_with_the_daemon_and_the_container_does_not(client: CriClient, node: Node, container: str) -> None:
    kubectl = Kubectl(exec_url(client, container, "sh", "-c", "echo up; sleep 4243"), "stdin", "stdout", "stderr")
    kubectl.until_shown(b"up")
    node.end(signal.SIGKILL)
    assert kubectl.session.closed()
    kubectl.session.close()
    with node.start() as again:
        wait_until(lambda: not pids_of(node, "4243"), "the command is gone")
        assert Kubectl(exec_url(again, container, "true"), "stdin", "stdout", "stderr").end()["status"] == "Success"


def test_many_execs_at_once_do_not_mix(client: CriClient, container: str) -> None:
    async def one(number: int) -> bytes:
        url = exec_url(client, container, "sh", "-c", f"cat; echo {number}")
        async with connected(url, V5) as socket:
            await socket.send_bytes(b"\0%d-" % number)
            await socket.send_bytes(b"\xff\0")
            return (await received(socket))[STDOUT]

    async def all_() -> list[bytes]:
        return await asyncio.gather(*(one(number) for number in range(20)))

    assert asyncio.run(all_()) == [b"%d-%d\n" % (number, number) for number in range(20)]
