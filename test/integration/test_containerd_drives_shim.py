"""The real containerd with our shim, as runtime io.containerd.crisp.v1: binary, ttrpc, FIFOs, events."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty

from core.api.runc_options_pb2 import Options
from core.api.task_v3_pb2 import ExecProcessRequest, StartRequest, StartResponse, WaitRequest, WaitResponse
from core.api.types_pb2 import RuntimeInfo
from core.ttrpc.client import Client
from cri import api
from rig.bundles import make_bundle, process
from rig.cgroups import ensure_cgroups
from rig.containerd import RUNTIME, Containerd, running_containerd
from rig.cri_client import CriClient
from rig.images import busybox, push
from rig.patience import patient
from rig.registry import RunningRegistry, running_registry

pytestmark = pytest.mark.root

SOCKETS = Path("/run/containerd/s")
TASK = "containerd.task.v2.Task"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def pause(registry: RunningRegistry) -> str:
    return push(busybox(Cmd=["sleep", "1000000"]), registry, "pause", "1")


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory, pause: str) -> Iterator[Containerd]:
    ensure_cgroups()
    base = tmp_path_factory.mktemp("containerd")
    make_bundle(base / "bundle", "true")
    with running_containerd(base, pause) as containerd:
        yield containerd


@pytest.fixture(autouse=True)
def _nothing_left(containerd: Containerd) -> Iterator[None]:
    sockets = set(os.listdir(SOCKETS)) if SOCKETS.exists() else set()
    yield
    wait_until(lambda: not shims(), "shims end")
    wait_until(lambda: set(os.listdir(SOCKETS)) <= sockets, "sockets of shims are removed")
    wait_until(lambda: not list(containerd.base.glob("state/*runtime.v2.task/*/*")), "bundles are removed")
    assert f"{containerd.base}/state" not in Path("/proc/mounts").read_text()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)  # between looks at the condition


def shims() -> dict[str, int]:
    """Pids of shims of ours, by the group that they serve."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().rstrip(b"\0").decode().split()
        except OSError:
            continue
        if words[:1] == ["crisp-shim"]:
            found[words[1]] = int(entry.name)
    return found


def run(containerd: Containerd, name: str, script: str, *options: str) -> list[str]:
    """The arguments of ctr that run `script` with our shim."""
    rootfs = str(containerd.base / "bundle/rootfs")
    fifos = ["--fifo-dir", str(containerd.base / "fifos")]  # ctr leaves those of detached containers
    return ["run", "--runtime", RUNTIME, *fifos, *options, "--rootfs", rootfs, name, "/bin/sh", "-c", script]


def status(containerd: Containerd, name: str) -> str:
    found = re.search(rf"^{name}\s+\d+\s+(\w+)", containerd.ctr("task", "ls"), re.MULTILINE)
    return found[1] if found else ""


def test_output_and_exit_code_come_through_the_fifos_of_containerd(containerd: Containerd) -> None:
    script = "echo out; echo err >&2; exit 7"
    assert containerd.run(*run(containerd, "one", script, "--rm")) == (7, "out\n", "err\n")


def test_the_end_of_stdin_reaches_the_process(containerd: Containerd) -> None:
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with containerd.start(*run(containerd, "stdin", "cat; echo end", "--rm"), **streams) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"in\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"in\n"
        process.stdin.close()
        assert process.stdout.read() == b"end\n"
    assert process.returncode == 0


def test_a_terminal_shows_what_is_typed(containerd: Containerd) -> None:
    ours, theirs = pty.openpty()
    script = "tty >/dev/null 2>&1; read line; echo got $line; exit 5"
    process = containerd.start(*run(containerd, "tty", script, "--rm", "-t"), stdin=theirs, stdout=theirs)
    os.close(theirs)
    wait_until(lambda: status(containerd, "tty") == "RUNNING", "it runs")
    os.write(ours, b"word\n")
    shown = b""
    with open(ours, "rb", buffering=0) as terminal:
        while b"got word" not in shown:
            shown += terminal.read(1024)
        assert process.wait(timeout=patient(20)) == 5


def test_a_task_is_executed_in_paused_killed_and_deleted(containerd: Containerd) -> None:
    script = "trap 'exit 5' TERM; echo up; while true; do sleep 0.1; done"
    containerd.ctr(*run(containerd, "two", script, "-d"))
    executed = containerd.run("task", "exec", "--exec-id", "e", "two", "/bin/sh", "-c", "echo in; exit 3")
    assert executed[:2] == (3, "in\n")
    containerd.ctr("task", "pause", "two")
    assert status(containerd, "two") == "PAUSED"
    containerd.ctr("task", "resume", "two")
    assert len(containerd.ctr("task", "ps", "two").splitlines()) >= 2
    metrics = containerd.ctr("task", "metrics", "two")
    assert int(re.search(r"^memory.usage\S*\s+(\d+)", metrics, re.MULTILINE)[1]) > 0  # type: ignore[index]
    containerd.ctr("task", "kill", "-s", "TERM", "two")
    wait_until(lambda: status(containerd, "two") == "STOPPED", "it stops")
    assert "exit code 5" in containerd.run("task", "delete", "two")[2]
    containerd.ctr("container", "rm", "two")


async def test_an_exec_without_streams_does_not_get_the_nodes_null_device(containerd: Containerd) -> None:
    containerd.ctr(*run(containerd, "null", "sleep 1000", "-d"))
    (address,) = containerd.base.glob("state/*runtime.v2.task/default/null/address")
    client = await Client.connect(address.read_text().removeprefix("unix://"))
    request = ExecProcessRequest(id="null", exec_id="e")
    document = {**process("echo dropped; cat; exit 3"), "user": {"uid": 1000, "gid": 1000}}
    request.spec.value = json.dumps(document).encode()
    try:
        await client.call(TASK, "Exec", request, Empty, timeout=patient(10))
        await client.call(TASK, "Start", StartRequest(id="null", exec_id="e"), StartResponse, timeout=patient(10))
        waited = await client.call(TASK, "Wait", WaitRequest(id="null", exec_id="e"), WaitResponse, timeout=patient(10))
        assert waited.exit_status == 3
        assert os.stat("/dev/null").st_uid != 1000
    finally:
        client.close()
    containerd.ctr("task", "delete", "--force", "null")
    containerd.ctr("container", "rm", "null")


def test_what_a_killed_shim_ran_is_ended(containerd: Containerd) -> None:
    containerd.ctr(*run(containerd, "three", "sleep 1000", "-d"))
    os.kill(shims()["three"], signal.SIGKILL)
    wait_until(lambda: status(containerd, "three") == "", "containerd has cleaned up")
    containerd.ctr("container", "rm", "three")


def test_a_containerd_that_was_killed_finds_the_shim_again(containerd: Containerd) -> None:
    script = "while test ! -e /tmp/go; do sleep 0.05; done; exit 4"
    containerd.ctr(*run(containerd, "four", script, "-d"))
    containerd.end(signal.SIGKILL)
    containerd.begin()
    assert status(containerd, "four") == "RUNNING"
    (containerd.base / "bundle/rootfs/tmp/go").touch()
    wait_until(lambda: status(containerd, "four") == "STOPPED", "it stops")
    assert "exit code 4" in containerd.run("task", "delete", "four")[2]
    containerd.ctr("container", "rm", "four")


def test_the_binary_says_what_it_is() -> None:
    binary = Path(sys.executable).parent / "containerd-shim-crisp-v1"
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stdout
    options = Any(type_url="containerd.runc.v1.Options", value=Options(binary_name="runc").SerializeToString())
    given = options.SerializeToString()
    printed = subprocess.run([binary, "-info"], input=given, capture_output=True, check=True).stdout
    info = RuntimeInfo.FromString(printed)
    assert (info.name, f"{info.version.version}\n", info.options) == (RUNTIME, said, options)
    assert "ociVersionMax" in json.loads(info.features.value)


def test_a_command_that_does_not_exist_is_an_error_and_leaves_nothing(containerd: Containerd) -> None:
    rootfs = str(containerd.base / "bundle/rootfs")
    code, _, err = containerd.run("run", "--rm", "--runtime", RUNTIME, "--rootfs", rootfs, "none", "/no/such/program")
    assert code
    assert "no/such/program" in err


def test_pods_of_containerds_cri_plugin_have_one_shim_each(containerd: Containerd, pause: str, tmp_path: Path) -> None:
    with CriClient(containerd.cri) as client:
        image = api.ImageSpec(image=pause)
        client.PullImage(api.PullImageRequest(image=image))
        options = api.NamespaceOption(network=api.NamespaceMode.NODE, pid=api.NamespaceMode.CONTAINER)
        sandbox = api.PodSandboxConfig(
            metadata=api.PodSandboxMetadata(name="pod", namespace="test", uid="uid"),
            log_directory=str(tmp_path),
            linux=api.LinuxPodSandboxConfig(
                cgroup_parent=f"/crisp-test-{os.getpid()}",
                security_context=api.LinuxSandboxSecurityContext(namespace_options=options),
            ),
        )
        pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=sandbox)).pod_sandbox_id
        config = api.ContainerConfig(
            metadata=api.ContainerMetadata(name="main"),
            image=image,
            command=["/bin/sh", "-c", "echo logged; sleep 1000"],
            log_path="main.log",
            linux=api.LinuxContainerConfig(
                security_context=api.LinuxContainerSecurityContext(namespace_options=options)
            ),
        )
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        container = client.CreateContainer(request).container_id
        client.StartContainer(api.StartContainerRequest(container_id=container))
        assert list(shims()) == [pod]
        echo = api.ExecSyncRequest(container_id=container, cmd=["/bin/echo", "in"], timeout=int(patient(10)))
        executed = client.ExecSync(echo)
        assert (executed.exit_code, executed.stdout) == (0, b"in\n")
        wait_until(lambda: " stdout F logged\n" in (tmp_path / "main.log").read_text(), "it is logged")
        stats = client.ContainerStats(api.ContainerStatsRequest(container_id=container)).stats
        assert stats.memory.working_set_bytes.value > 0
        assert stats.cpu.usage_core_nano_seconds.value > 0
        client.StopContainer(api.StopContainerRequest(container_id=container, timeout=0))
        stopped = client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status
        assert (stopped.state, stopped.exit_code) == (api.ContainerState.CONTAINER_EXITED, 137)
        client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
        client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
