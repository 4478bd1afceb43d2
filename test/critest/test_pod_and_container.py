"""The life of pods and containers, and what a daemon that dies in the middle leaves of it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cri import api
from rig.cri_calls import refused, verbose
from rig.cri_client import CriClient
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
EXITED, RUNNING = api.ContainerState.CONTAINER_EXITED, api.ContainerState.CONTAINER_RUNNING


def status(client: CriClient, container: str) -> Any:
    return client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status


def wait_exited(client: CriClient, container: str) -> Any:
    deadline = monotonic() + patient(20)
    while (found := status(client, container)).state != EXITED:
        assert monotonic() < deadline, f"still {found.state}"
        sleep(0.02)  # between looks at the condition
    return found


def execute(client: CriClient, container: str, script: str, timeout: int = 10) -> Any:
    request = api.ExecSyncRequest(container_id=container, cmd=["/bin/sh", "-c", script], timeout=int(patient(timeout)))
    return client.ExecSync(request)


def code_of(call: Any, request: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    code: grpc.StatusCode = caught.value.code()
    return code


def log_of(client: CriClient, container: str) -> list[str]:
    return Path(status(client, container).log_path).read_text().splitlines()


def test_a_container_writes_its_log_and_its_exit_code_is_told(client: CriClient, pods: Pods) -> None:
    _, container = pods.start("echo out; echo err >&2; printf tail; exit 3")
    found = wait_exited(client, container)
    assert (found.exit_code, found.reason) == (3, "Error")
    assert found.created_at <= found.started_at <= found.finished_at
    entries = sorted(line.split(" ", 1)[1] for line in log_of(client, container))
    assert entries == ["stderr F err", "stdout F out", "stdout P tail"]


def test_a_pod_has_an_address_a_hostname_and_files_of_its_own(client: CriClient, pods: Pods) -> None:
    pod, container = pods.start("sleep 1000")
    address = client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod)).status.network.ip
    seen = execute(client, container, "hostname; ip -4 -o addr show eth0; cat /etc/hostname").stdout.decode()
    assert seen.splitlines()[0] == seen.splitlines()[2] == "pod"
    assert f"inet {address}/" in seen


def test_the_environment_and_the_default_confinement_reach_the_container(
    client: CriClient, node: Node, pods: Pods
) -> None:
    config = node.container("sleep 1000")
    config.envs.add(key="GREETING", value="h\u00e9llo=1".encode())
    _, container = pods.start("", config=config)
    seen = execute(client, container, "echo $GREETING; echo x > /proc/sys/kernel/domainname")
    assert seen.stdout.decode() == "h\u00e9llo=1\n"
    assert b"Read-only file system" in seen.stderr


def test_containers_of_a_pod_with_a_shared_pid_namespace_see_each_other(
    client: CriClient, node: Node, pods: Pods
) -> None:
    _, container = pods.start("sleep 1234")
    assert b"sleep 1234" in execute(client, container, "ps").stdout
    assert status(client, container).state == RUNNING


def test_exec_is_killed_at_its_timeout_and_the_container_runs_on(client: CriClient, pods: Pods) -> None:
    _, container = pods.start("sleep 1000")
    request = api.ExecSyncRequest(container_id=container, cmd=["/bin/sleep", "4321"], timeout=1)
    assert code_of(client.ExecSync, request) == grpc.StatusCode.DEADLINE_EXCEEDED
    assert b"sleep 4321" not in execute(client, container, "ps").stdout
    assert status(client, container).state == RUNNING


def test_stop_sends_the_signal_and_then_kills(client: CriClient, pods: Pods) -> None:
    _, polite = pods.start("trap 'exit 7' TERM; touch /tmp/polite; while true; do sleep 0.05; done")
    execute(client, polite, "until test -e /tmp/polite; do sleep 0.01; done")
    client.StopContainer(api.StopContainerRequest(container_id=polite, timeout=int(patient(10))))
    assert status(client, polite).exit_code == 7
    _, deaf = pods.start("trap '' TERM; touch /tmp/deaf; while true; do sleep 0.05; done")
    execute(client, deaf, "until test -e /tmp/deaf; do sleep 0.01; done")
    client.StopContainer(api.StopContainerRequest(container_id=deaf, timeout=1))
    assert status(client, deaf).exit_code == 137


def test_stop_and_remove_of_what_is_not_there_succeed(client: CriClient, pods: Pods) -> None:
    pod, container = pods.start("sleep 1000")
    for _ in range(2):
        client.StopContainer(api.StopContainerRequest(container_id=container))
        client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    for _ in range(2):
        client.RemoveContainer(api.RemoveContainerRequest(container_id=container))
        client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image="127.0.0.1:1/none:1")))


def test_bad_requests_get_the_right_code_and_leave_nothing(client: CriClient, node: Node, pods: Pods) -> None:
    codes = grpc.StatusCode
    assert code_of(client.RunPodSandbox, api.RunPodSandboxRequest()) == codes.INVALID_ARGUMENT
    sandbox = node.pod()
    unknown = api.RunPodSandboxRequest(config=sandbox, runtime_handler="none")
    assert code_of(client.RunPodSandbox, unknown) == codes.INVALID_ARGUMENT
    pod = pods.run(sandbox)
    assert code_of(client.RunPodSandbox, api.RunPodSandboxRequest(config=sandbox)) == codes.ALREADY_EXISTS
    config = node.container("true")
    config.image.image = "127.0.0.1:1/none:1"
    request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
    assert code_of(client.CreateContainer, request) == codes.NOT_FOUND
    config = node.container("true")
    config.log_path = "../../escape"
    request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
    assert code_of(client.CreateContainer, request) == codes.INVALID_ARGUMENT
    assert not list((node.base / "run/containers").iterdir())
    assert code_of(client.ContainerStatus, api.ContainerStatusRequest(container_id="none")) == codes.NOT_FOUND


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_a_command_that_cannot_be_executed_is_a_start_error_in_known_words(
    client: CriClient, node: Node, pods: Pods, handler: str
) -> None:
    sandbox = node.pod()
    request = api.RunPodSandboxRequest(config=sandbox, runtime_handler=handler)
    pod = client.RunPodSandbox(request).pod_sandbox_id
    node.sandboxes.add(pod)
    for name, why in (("nosuch", "executable file not found in $PATH"), ("/etc/passwd", "permission denied")):
        config = node.container("", name.strip("/").replace("/", "-"))
        config.command[:] = [name]
        container = pods.create(pod, sandbox, config)
        told = refused(client.StartContainer, api.StartContainerRequest(container_id=container))
        assert told == (grpc.StatusCode.INVALID_ARGUMENT, f'exec: "{name}": {why}')
        found = status(client, container)
        assert (found.state, found.exit_code, found.reason, found.message) == (EXITED, 128, "StartError", told[1])


def test_an_exec_of_a_command_that_is_not_there_is_refused_calmly(client: CriClient, node: Node, pods: Pods) -> None:
    _, container = pods.start("sleep 1000")
    request = api.ExecSyncRequest(container_id=container, cmd=["nosuch"], timeout=10)
    told = refused(client.ExecSync, request)
    assert told == (grpc.StatusCode.INVALID_ARGUMENT, 'exec: "nosuch": executable file not found in $PATH')
    assert "Traceback" not in (node.base / "crispd.log").read_text()


def test_a_killed_daemon_leaves_containers_running_and_its_successor_knows_them(
    client: CriClient, node: Node, pods: Pods
) -> None:
    _, running = pods.start("i=0; while true; do echo $i; i=$((i+1)); sleep 0.01; done")
    _, ending = pods.start("sleep 1; exit 5")
    pid = status_pid(client, running)
    node.end(signal.SIGKILL)
    exited = Path(f"/proc/{pid}").exists()
    assert exited
    with node.start() as again:
        assert status(again, running).state == RUNNING
        assert status_pid(again, running) == pid
        assert wait_exited(again, ending).exit_code == 5
        assert execute(again, running, "echo alive").stdout == b"alive\n"
        again.StopContainer(api.StopContainerRequest(container_id=running))
        numbers = [int(line.split()[-1]) for line in log_of(again, running)]
        assert numbers == list(range(len(numbers)))  # no line lost, none twice


def test_verbose_status_has_the_keys_that_tools_read(client: CriClient, pods: Pods) -> None:
    pod, container = pods.start("sleep 1000")
    info = verbose(client, container)
    assert set(info) == {
        "sandboxID",
        "pid",
        "removing",
        "privileged",
        "snapshotKey",
        "snapshotter",
        "runtimeType",
        "runtimeOptions",
        "config",
        "runtimeSpec",
    }
    assert info["runtimeType"] == "io.containerd.crisp.v1"
    assert os.path.isabs(info["runtimeOptions"]["binary_name"])
    reply = client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod, verbose=True))
    info = json.loads(reply.info["info"])
    wanted = {"pid", "processStatus", "netNamespaceClosed", "image", "runtimeHandler", "runtimeType", "runtimeOptions"}
    assert wanted | {"runtimeSpec", "config", "cniResult", "sandboxMetadata"} <= set(info)
    assert info["cniResult"]["Interfaces"]["eth0"]["IPConfigs"][0]["IP"] == reply.status.network.ip
    assert info["sandboxMetadata"]["Metadata"]["IP"] == reply.status.network.ip
    network = next(one["path"] for one in info["runtimeSpec"]["linux"]["namespaces"] if one["type"] == "network")
    assert os.path.exists(network)


def test_a_stopped_pod_has_no_address_and_no_process_any_more(client: CriClient, pods: Pods) -> None:
    pod, _ = pods.start("sleep 1000")
    request = api.PodSandboxStatusRequest(pod_sandbox_id=pod, verbose=True)
    assert client.PodSandboxStatus(request).status.network.ip
    client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    reply = client.PodSandboxStatus(request)
    info = json.loads(reply.info["info"])
    assert reply.status.network.ip == ""
    assert (info["pid"], info["processStatus"], info["netNamespaceClosed"]) == (0, "deleted", True)


def status_pid(client: CriClient, container: str) -> int:
    info = client.ContainerStatus(api.ContainerStatusRequest(container_id=container, verbose=True)).info
    return int(json.loads(info["info"])["pid"])


def test_a_killed_shim_ends_its_containers_and_no_others(client: CriClient, node: Node, pods: Pods) -> None:
    pod, container = pods.start("sleep 1000")
    _, other = pods.start("sleep 1000")
    of_pod = [one for one in node.processes() if pod in Path(f"/proc/{one}/cmdline").read_text()]
    shim = next(one for one in of_pod if Path(f"/proc/{one}/comm").read_text() == "crisp-shim\n")
    os.kill(shim, signal.SIGKILL)
    found = wait_exited(client, container)
    assert (found.exit_code, found.reason) == (137, "ShimDied")
    assert status(client, other).state == RUNNING
    assert execute(client, other, "echo alive").stdout == b"alive\n"


def test_what_a_crash_left_without_a_record_is_swept_at_start(client: CriClient, node: Node) -> None:
    node.end(signal.SIGKILL)
    for path in ("containers/orphan", "etc/orphan", "sandboxes/orphan"):
        (node.base / "run" / path).mkdir(parents=True)
    with node.start():
        node.wait_swept()


def test_a_pod_can_end_when_its_handler_has_left_the_configuration(client: CriClient, node: Node, pods: Pods) -> None:
    node.end(signal.SIGTERM)
    node.configure('[runtimes.other]\nbinary = "/usr/bin/crun"')
    with node.start() as configured:
        sandbox = node.pod()
        request = api.RunPodSandboxRequest(config=sandbox, runtime_handler="other")
        pod = configured.RunPodSandbox(request).pod_sandbox_id
        node.sandboxes.add(pod)
    node.end(signal.SIGTERM)
    node.configure("")
    with node.start() as again:
        again.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
        again.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
        assert node.left() == []
