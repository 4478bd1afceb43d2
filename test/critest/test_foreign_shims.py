"""Whole pods under Debian's containerd-shim-runc-v2, which knows nothing of Crisp."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cri import api
from rig.cgroups import ensure_cgroups
from rig.cri_calls import refused, run, status, wait_exited
from rig.cri_client import CriClient
from rig.images import busybox, push
from rig.kubectl import Kubectl, attach_url, exec_url
from rig.node import Node, wait_until
from rig.patience import patient
from rig.registry import running_registry

pytestmark = pytest.mark.root
READY, NOTREADY = api.SANDBOX_READY, api.SANDBOX_NOTREADY
RUNNING, EXITED = api.CONTAINER_RUNNING, api.CONTAINER_EXITED
HANDLER = """
[runtimes.foreign]
type = "io.containerd.runc.v2"
infra_image = "{image}"
"""
FOREVER = "trap 'exit 3' TERM; while :; do sleep 0.1; done"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Containers name their own command, so one image is both."""
    ensure_cgroups()
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield push(busybox(Cmd=["sleep", "1000000"]), registry, "library/foreign", "1")


@pytest.fixture
def client(node: Node, image: str) -> Iterator[CriClient]:
    node.end(signal.SIGTERM)
    node.configure(HANDLER.format(image=image))
    with node.start() as client:
        yield client


@pytest.fixture(autouse=True)
def _no_shims(tmp_path: Path) -> Iterator[None]:
    """Set up before the node, and so torn down after it."""
    yield
    assert not shims()


def shims() -> list[int]:
    """Pids of all shims of containerd's."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"containerd-shim-runc-v2" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


class Foreign:
    """Pods of the handler, and their containers."""

    def __init__(self, node: Node, client: CriClient) -> None:
        self._node = node
        self.client = client

    def pod(self, **linux: Any) -> tuple[str, api.PodSandboxConfig]:
        config = self._node.pod(**linux)
        request = api.RunPodSandboxRequest(config=config, runtime_handler="foreign")
        return str(self.client.RunPodSandbox(request).pod_sandbox_id), config

    def start(self, script: str, **config: Any) -> tuple[str, str]:
        """A pod with one running container; the ids of both."""
        pod, sandbox = self.pod()
        return pod, self.add(pod, sandbox, script, **config)

    def add(self, pod: str, sandbox: api.PodSandboxConfig, script: str, name: str = "main", **config: Any) -> str:
        wanted = self._node.container(script, name)
        wanted.linux.security_context.namespace_options.pid = api.NamespaceMode.CONTAINER
        wanted.MergeFrom(api.ContainerConfig(**config))
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=wanted, sandbox_config=sandbox)
        container = str(self.client.CreateContainer(request).container_id)
        self.client.StartContainer(api.StartContainerRequest(container_id=container))
        return container

    def end(self, pod: str) -> None:
        self.client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
        self.client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))


@pytest.fixture
def foreign(node: Node, client: CriClient) -> Foreign:
    return Foreign(node, client)


def entries(client: CriClient, container: str) -> list[str]:
    """Lines of the log without their times."""
    lines = Path(status(client, container).log_path).read_text().splitlines()
    return [line.split(" ", 1)[1] for line in lines]


def state(client: CriClient, pod: str) -> int:
    return int(client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod)).status.state)


def test_a_pod_lives_from_run_to_remove(node: Node, foreign: Foreign, client: CriClient) -> None:
    pod, container = foreign.start("echo out; echo err >&2; printf tail; exit 3")
    found = wait_exited(client, container)
    assert (found.exit_code, found.reason) == (3, "Error")
    assert found.created_at <= found.started_at <= found.finished_at
    assert sorted(entries(client, container)) == ["stderr F err", "stdout F out", "stdout P tail"]
    assert len(shims()) == 1
    client.RemoveContainer(api.RemoveContainerRequest(container_id=container))
    foreign.end(pod)
    node.wait_swept()


def test_containers_share_the_namespaces_of_the_root_container(foreign: Foreign, client: CriClient) -> None:
    pod, sandbox = foreign.pod()
    first, second = (foreign.add(pod, sandbox, FOREVER, name) for name in ("one", "two"))
    places = [run(client, one, "readlink /proc/self/ns/net /proc/self/ns/ipc") for one in (first, second)]
    assert places[0] == places[1]
    assert run(client, first, "ip -o -4 addr show eth0").split()[3].startswith("10.90.0.")
    run(client, first, "echo x > /dev/shm/x")
    assert run(client, second, "cat /dev/shm/x").strip() == "x"


def test_exec_sync_tells_output_and_exit_code(foreign: Foreign, client: CriClient) -> None:
    _, container = foreign.start(FOREVER)
    cmd = ["/bin/sh", "-c", "echo out; echo err >&2; exit 5"]
    reply = client.ExecSync(api.ExecSyncRequest(container_id=container, cmd=cmd, timeout=int(patient(20))))
    assert (reply.stdout, reply.stderr, reply.exit_code) == (b"out\n", b"err\n", 5)
    nope = api.ExecSyncRequest(container_id=container, cmd=["/nope"], timeout=int(patient(20)))
    _, words = refused(client.ExecSync, nope)
    assert "/nope" in words
    cmd = ["/bin/head", "-c", "20000000", "/dev/zero"]
    reply = client.ExecSync(api.ExecSyncRequest(container_id=container, cmd=cmd, timeout=int(patient(60))))
    assert 7 << 20 < len(reply.stdout) < 16 << 20


def test_an_exec_that_takes_too_long_is_killed(foreign: Foreign, client: CriClient) -> None:
    _, container = foreign.start(FOREVER)
    request = api.ExecSyncRequest(container_id=container, cmd=["/bin/sleep", "4321"], timeout=1)
    code, _ = refused(client.ExecSync, request)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "4321" not in run(client, container, "ps")


def test_stop_sends_the_signal_and_then_kills(foreign: Foreign, client: CriClient) -> None:
    pod, sandbox = foreign.pod()
    polite = foreign.add(pod, sandbox, FOREVER, "one")
    deaf = foreign.add(pod, sandbox, "trap '' TERM; sleep 1000", "two")
    wait_until(lambda: "sleep" in run(client, polite, "ps"), "its trap is set")
    client.StopContainer(api.StopContainerRequest(container_id=polite, timeout=int(patient(20))))
    assert (status(client, polite).state, status(client, polite).exit_code) == (EXITED, 3)
    client.StopContainer(api.StopContainerRequest(container_id=deaf, timeout=1))
    assert status(client, deaf).exit_code == 137


def test_what_the_runtime_says_of_a_failed_start_is_told(foreign: Foreign, client: CriClient) -> None:
    pod, sandbox = foreign.pod()
    with pytest.raises(grpc.RpcError, match="not a directory"):
        foreign.add(pod, sandbox, "", working_dir="/etc/passwd/nope")
    (found,) = client.ListContainers(api.ListContainersRequest()).containers
    assert (status(client, found.id).exit_code, status(client, found.id).reason) == (128, "StartError")


def test_the_log_goes_on_in_a_new_file(foreign: Foreign, client: CriClient) -> None:
    _, container = foreign.start("while :; do echo x; sleep 0.1; done")
    path = Path(status(client, container).log_path)
    wait_until(lambda: path.stat().st_size > 0, "it writes")
    path.rename(f"{path}.1")
    client.ReopenContainerLog(api.ReopenContainerLogRequest(container_id=container))
    wait_until(lambda: path.exists() and path.stat().st_size > 0, "it writes into the new file")


def test_a_container_out_of_memory_says_so(foreign: Foreign, client: CriClient) -> None:
    pod, sandbox = foreign.pod()
    limits = api.LinuxContainerConfig(resources=api.LinuxContainerResources(memory_limit_in_bytes=16 << 20))
    container = foreign.add(pod, sandbox, "exec tail /dev/zero", linux=limits)
    assert (wait_exited(client, container).reason, status(client, container).exit_code) == ("OOMKilled", 137)


def test_a_daemon_that_was_killed_finds_everything_again(node: Node, foreign: Foreign, client: CriClient) -> None:
    pod, sandbox = foreign.pod()
    writer = foreign.add(pod, sandbox, "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done", "one")
    ender = foreign.add(pod, sandbox, "while [ ! -e /dev/shm/go ]; do sleep 0.05; done; exit 7", "two")
    run(client, writer, "sleep 0.3")
    node.end(signal.SIGKILL)
    with node.start() as again:
        assert (state(again, pod), status(again, writer).state) == (READY, RUNNING)
        run(again, writer, "touch /dev/shm/go")
        assert wait_exited(again, ender).exit_code == 7
        path = Path(status(again, writer).log_path)
        size = path.stat().st_size
        wait_until(lambda: path.stat().st_size > size, "it writes on")
        numbers = [int(line.split()[-1]) for line in path.read_text().splitlines()]
        assert numbers == list(range(1, len(numbers) + 1))
        Foreign(node, again).end(pod)
    node.wait_swept()


def test_an_exit_while_no_daemon_runs_is_told_by_the_next(node: Node, foreign: Foreign, client: CriClient) -> None:
    _, container = foreign.start("while [ ! -e /dev/shm/go ]; do sleep 0.05; done; exit 7")
    info = client.ContainerStatus(api.ContainerStatusRequest(container_id=container, verbose=True)).info["info"]
    pid = json.loads(info)["pid"]
    node.end(signal.SIGKILL)
    Path(f"/proc/{pid}/root/dev/shm/go").touch()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it has ended")
    with node.start() as again:
        assert wait_exited(again, container).exit_code == 7


def test_a_shim_that_was_killed_takes_its_pod_along(node: Node, foreign: Foreign, client: CriClient) -> None:
    pod, container = foreign.start("exec sleep 4322")
    (shim,) = shims()
    os.kill(shim, signal.SIGKILL)
    found = wait_exited(client, container)
    assert (found.exit_code, found.reason) == (137, "ShimDied")
    wait_until(lambda: state(client, pod) == NOTREADY, "the pod is not ready")
    foreign.end(pod)
    node.wait_swept()


def test_a_shim_that_was_started_and_not_noted_is_ended(node: Node, foreign: Foreign, client: CriClient) -> None:
    client.close()
    node.end(signal.SIGTERM)
    with node.start("shim.start.foreign=1*kill") as doomed, pytest.raises(grpc.RpcError):
        Foreign(node, doomed).pod()
    assert node.process
    node.process.wait()
    assert shims()
    node.start().close()
    wait_until(lambda: not node.left() and not shims(), "nothing is left")


def test_an_exec_reads_writes_and_its_exit_code_is_told(foreign: Foreign, client: CriClient) -> None:
    _, container = foreign.start(FOREVER)
    kubectl = Kubectl(exec_url(client, container, "sh", "-c", "cat; echo err >&2; exit 3"), "stdin", "stdout", "stderr")
    kubectl.type(b"typed", end=True)
    ended = kubectl.end()
    assert (kubectl.shown(), kubectl.shown("stderr")) == (b"typed", b"err\n")
    assert ended["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


def test_an_execs_terminal_has_the_clients_size(foreign: Foreign, client: CriClient) -> None:
    _, container = foreign.start(FOREVER)
    script = 'until [ "$(stty size)" = "45 123" ]; do sleep 0.01; done; echo right'
    kubectl = Kubectl(exec_url(client, container, "sh", "-c", script, tty=True), "stdin", "stdout", "resize")
    kubectl.resize(123, 45)
    assert kubectl.end()["status"] == "Success"
    assert b"right" in kubectl.shown()


def test_a_client_that_leaves_ends_its_command(foreign: Foreign, client: CriClient) -> None:
    _, container = foreign.start(FOREVER)
    kubectl = Kubectl(exec_url(client, container, "sh", "-c", "echo up; exec sleep 4323"), "stdin", "stdout", "stderr")
    kubectl.until_shown(b"up")
    kubectl.session.close()
    wait_until(lambda: "4323" not in run(client, container, "ps"), "the command is gone")


def test_clients_of_an_attach_see_the_same_and_the_log_too(foreign: Foreign, client: CriClient) -> None:
    script = "while read line; do echo got $line; [ $line = two ] && break; done; echo bye"
    _, container = foreign.start(script, stdin=True)
    first, second = (Kubectl(attach_url(client, container), "stdin", "stdout", "stderr") for _ in range(2))
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
    wait_exited(client, container)
    lines = ("got 0", "got 1", "got one", "got two", "bye")
    assert entries(client, container) == [f"stdout F {line}" for line in lines]


def test_the_first_attach_ends_a_stdin_that_is_there_once(foreign: Foreign, client: CriClient) -> None:
    _, container = foreign.start("cat; echo over", stdin=True, stdin_once=True)
    kubectl = Kubectl(attach_url(client, container), "stdin", "stdout", "stderr")
    kubectl.type(b"typed\n", end=True)
    assert kubectl.end()["status"] == "Success"
    assert wait_exited(client, container).exit_code == 0
    assert entries(client, container) == ["stdout F typed", "stdout F over"]


def test_attach_joins_a_terminal(foreign: Foreign, client: CriClient) -> None:
    _, container = foreign.start("read line; echo got $line; read line", stdin=True, tty=True)
    kubectl = Kubectl(attach_url(client, container, tty=True), "stdin", "stdout", "resize")
    kubectl.type(b"hello\n")
    kubectl.until_shown(b"got hello")
    kubectl.session.close()
    again = Kubectl(attach_url(client, container, tty=True), "stdin", "stdout", "resize")
    again.type(b"end\n")
    assert again.end()["status"] == "Success"
