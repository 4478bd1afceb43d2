"""Cgroups made by the OCI runtime itself (cgroupfs) and by systemd: placed right, with limits, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from core.linux.cgroup import CgroupLayout, CgroupMode, booted_with_systemd
from cri import api
from rig.cri_client import CriClient
from rig.node import Node, wait_until
from rig.patience import patient

pytestmark = pytest.mark.root

MEMORY = 32 << 20
HANDLERS = """[runtimes.crun]
systemd_cgroup = true
[runtimes.runc]
systemd_cgroup = true
"""
DRIVERS = ["cgroupfs", "systemd"] if booted_with_systemd() else ["cgroupfs"]


class Driver:
    """One driver on a node that is configured for it, and a pod's cgroup as the kubelet would name it."""

    def __init__(self, node: Node, name: str, handler: str) -> None:
        self.node = node
        self.handler = handler
        self.systemd = name == "systemd"
        unit = f"crispvm{uuid.uuid4().hex[:8]}"
        self.parent = f"/{unit}.slice/{unit}-pod1.slice" if self.systemd else f"/{node.cgroup}/pod1"
        self._unit = unit

    def configure(self) -> None:
        """Start the node's daemon anew with this driver; cgroupfs is the default."""
        if self.systemd:
            self.node.end(signal.SIGTERM)
            self.node.configure(HANDLERS)
            self.node.start().close()

    def group(self, container: str) -> str:
        """Where the container is to be, as /proc/<pid>/cgroup shows it; crun makes one more group in a scope."""
        return f"{self.parent}/crisp-{container}.scope" if self.systemd else f"{self.parent}/{container}"

    def run(self, client: CriClient) -> tuple[str, api.PodSandboxConfig]:
        sandbox = self.node.pod()
        sandbox.linux.cgroup_parent = self.parent
        request = api.RunPodSandboxRequest(config=sandbox, runtime_handler=self.handler)
        pod = str(client.RunPodSandbox(request).pod_sandbox_id)
        self.node.sandboxes.add(pod)
        return pod, sandbox

    def start(self, client: CriClient, script: str, **limits: Any) -> str:
        """A container of MEMORY bytes and half a processor."""
        pod, sandbox = self.run(client)
        config = self.node.container(script)
        config.linux.security_context.namespace_options.pid = api.NamespaceMode.CONTAINER
        halved = {"memory_limit_in_bytes": MEMORY, "cpu_quota": 50_000, "cpu_period": 100_000}
        config.linux.resources.CopyFrom(api.LinuxContainerResources(**halved, **limits))
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        container = str(client.CreateContainer(request).container_id)
        client.StartContainer(api.StartContainerRequest(container_id=container))
        return container

    def clean(self) -> None:
        """What is the kubelet's to remove: fails when a container's cgroup is left in it."""
        if self.systemd:
            subprocess.run(["systemctl", "stop", f"{self._unit}.slice"], check=True, timeout=patient(10))
            return
        for group in self.directories(self.parent):
            group.rmdir()

    def innermost(self, container: str) -> Path:
        """On version 2, the group that the container's processes are in."""
        (group,) = self.directories(self.group(container))
        return group / "container" if (group / "container").is_dir() else group

    def directories(self, group: str) -> set[Path]:
        """Those of `group` that exist, in all hierarchies."""
        layout = CgroupLayout.read()
        hierarchies = [*layout.controllers.values(), *([layout.unified] if layout.unified else [])]
        return {place for one in hierarchies if (place := Path(one.directory(group))).is_dir()}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest, node: Node, handler: str) -> Iterator[Driver]:
    driver = Driver(node, request.param, handler)
    driver.configure()
    yield driver
    with CriClient(str(node.base / "run/crisp.sock")) as client:
        for pod in client.ListPodSandbox(api.ListPodSandboxRequest()).items:
            client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod.id))
    driver.clean()


@pytest.fixture(params=["crun", "runc"])
def handler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(driver: Driver) -> Iterator[CriClient]:
    with CriClient(str(driver.node.base / "run/crisp.sock")) as client:
        client.wait_ready()
        yield client


def wait_exited(client: CriClient, container: str) -> Any:
    """Its status."""
    request = api.ContainerStatusRequest(container_id=container)
    wait_until(lambda: bool(client.ContainerStatus(request).status.finished_at), "it has exited")
    return client.ContainerStatus(request).status


def test_a_container_lives_in_its_pods_cgroup_and_leaves_none(client: CriClient, driver: Driver) -> None:
    container = driver.start(client, "sleep 8001 & exec sleep 8001")
    wait_until(lambda: len(_processes("8001")) == 2, "both run")
    for process in _processes("8001"):
        groups = {line.split(":", 2)[2] for line in (process / "cgroup").read_text().splitlines()}
        assert driver.group(container) in {group.removesuffix("/container") for group in groups}
    memory = Path(CgroupLayout.read().directory("memory", driver.group(container)))
    unified = CgroupLayout.read().mode is CgroupMode.UNIFIED
    assert int((memory / ("memory.max" if unified else "memory.limit_in_bytes")).read_text()) == MEMORY
    if unified:
        assert (memory / "cpu.max").read_text() == "50000 100000\n"
        assert (memory / "pids.max").read_text() == "max\n"
    client.StopContainer(api.StopContainerRequest(container_id=container))
    assert _processes("8001") == []
    client.RemoveContainer(api.RemoveContainerRequest(container_id=container))
    wait_until(lambda: not driver.directories(driver.group(container)), "its cgroup is gone")


def test_files_of_version_2_are_as_the_kubelet_says_and_stay_so_when_a_limit_changes(
    client: CriClient, driver: Driver
) -> None:
    """Swap among them: on version 2 the kubelet says how much in no other way."""
    files = {"memory.swap.max": str(4 * MEMORY), "memory.high": str(MEMORY // 2), "memory.oom.group": "1"}
    if CgroupLayout.read().mode is not CgroupMode.UNIFIED:
        with pytest.raises(grpc.RpcError, match="this node has cgroup v1"):
            driver.start(client, "", unified=files)
        return
    container = driver.start(client, "exec sleep 8003", unified=files)
    group = driver.innermost(container)
    assert {name: (group / name).read_text().strip() for name in files} == files
    (scope,) = driver.directories(driver.group(container))
    limits = api.LinuxContainerResources(memory_limit_in_bytes=2 * MEMORY)
    client.UpdateContainerResources(api.UpdateContainerResourcesRequest(container_id=container, linux=limits))
    assert {int((place / "memory.max").read_text()) for place in (group, scope)} == {2 * MEMORY}
    assert {name: (group / name).read_text().strip() for name in files} == files
    other = driver.start(client, "exec sleep 8003", memory_swap_limit_in_bytes=MEMORY + 4096)
    assert (driver.innermost(other) / "memory.swap.max").read_text() == "4096\n"


def test_a_change_that_is_refused_leaves_no_limit_behind_in_any_group(client: CriClient, driver: Driver) -> None:
    container = driver.start(client, "exec sleep 8004")
    wanted = api.LinuxContainerResources(memory_limit_in_bytes=MEMORY // 2, cpuset_cpus="4000")
    with pytest.raises(grpc.RpcError, match="cpuset"):
        client.UpdateContainerResources(
            api.UpdateContainerResourcesRequest(container_id=container, linux=wanted)
        )
    memory = Path(CgroupLayout.read().directory("memory", driver.group(container)))
    unified = CgroupLayout.read().mode is CgroupMode.UNIFIED
    files = memory.rglob("memory.max" if unified else "memory.limit_in_bytes")
    assert {int(file.read_text()) for file in files} == {MEMORY}
    if driver.systemd:
        show = ["systemctl", "show", "--value", "--property=MemoryMax", Path(driver.group(container)).name]
        assert int(subprocess.run(show, check=True, capture_output=True, timeout=patient(10)).stdout) == MEMORY


def test_a_container_that_needs_too_much_memory_is_oom_killed(client: CriClient, driver: Driver) -> None:
    for _ in range(3):
        found = wait_exited(client, driver.start(client, "x=0123456789abcdef; while :; do x=$x$x; done"))
        assert (found.exit_code, found.reason) == (137, "OOMKilled")


def test_containers_of_a_killed_shim_leave_no_cgroup(client: CriClient, driver: Driver) -> None:
    container = driver.start(client, "sleep 8002 & exec sleep 8002")
    for shim in driver.node.processes():
        os.kill(shim, signal.SIGKILL)
    wait_exited(client, container)
    wait_until(lambda: not _processes("8002"), "its processes are gone")
    wait_until(lambda: not driver.directories(driver.group(container)), "its cgroup is gone")


def test_systemds_cgroups_are_told_to_the_kubelet_and_refused_where_systemd_does_not_run(node: Node) -> None:
    driver = Driver(node, "systemd", "crun")
    driver.configure()
    with CriClient(str(node.base / "run/crisp.sock")) as client:
        told = client.RuntimeConfig(api.RuntimeConfigRequest()).linux.cgroup_driver
        assert told == api.CgroupDriver.SYSTEMD
        if booted_with_systemd():
            return
        with pytest.raises(grpc.RpcError, match="systemd, which does not run on this node") as caught:
            driver.run(client)
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def _processes(marker: str) -> list[Path]:
    """The directories in /proc of the processes that run `sleep marker`."""
    return [one for one in Path("/proc").glob("[0-9]*") if _cmdline(one) == f"sleep\0{marker}\0".encode()]


def _cmdline(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
