"""Limits of containers: as asked for, changed before and after the start, seen in the cgroup and from inside."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cri import api
from rig.cri_calls import refused, run, status, verbose
from rig.cri_client import CriClient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
MIB = 1 << 20


def limited(node: Node, **limits: Any) -> api.ContainerConfig:
    config = node.container("sleep 1000 & wait")
    config.linux.resources.CopyFrom(api.LinuxContainerResources(**limits))
    config.linux.security_context.namespace_options.pid = api.NamespaceMode.CONTAINER
    return config


def update(client: CriClient, container: str, **limits: Any) -> None:
    client.UpdateContainerResources(request(container, **limits))


def request(container: str, **limits: Any) -> api.UpdateContainerResourcesRequest:
    return api.UpdateContainerResourcesRequest(container_id=container, linux=api.LinuxContainerResources(**limits))


def in_force(client: CriClient, container: str) -> dict[str, Any]:
    return {field.name: value for field, value in status(client, container).resources.linux.ListFields()}


def in_cgroup(client: CriClient, container: str) -> dict[str, int | str]:
    """The same, from the cgroup of the container's process."""
    groups = dict(
        line.split(":", 2)[1:]
        for line in Path(f"/proc/{verbose(client, container)['pid']}/cgroup").read_text().splitlines()
    )
    if "memory" not in groups:
        directory = Path("/sys/fs/cgroup" + groups[""])
        quota, period = (directory / "cpu.max").read_text().split()
        return {
            "quota": int(quota),
            "period": int(period),
            "cpus": (directory / "cpuset.cpus").read_text().strip(),
            "memory": int((directory / "memory.max").read_text()),
        }

    def value(controller: str, file: str) -> str:
        return Path(f"/sys/fs/cgroup/{controller}{groups[controller]}/{file}").read_text().strip()

    return {
        "quota": int(value("cpu", "cpu.cfs_quota_us")),
        "period": int(value("cpu", "cpu.cfs_period_us")),
        "cpus": value("cpuset", "cpuset.cpus"),
        "memory": int(value("memory", "memory.limit_in_bytes")),
    }


def test_limits_change_while_a_container_runs_and_those_not_named_stay(
    client: CriClient, node: Node, pods: Pods
) -> None:
    config = limited(node, cpu_quota=20000, cpu_period=50000, memory_limit_in_bytes=64 * MIB, cpu_shares=512)
    _, container = pods.start("", config=config)
    update(client, container, memory_limit_in_bytes=128 * MIB, cpuset_cpus="0", oom_score_adj=800)
    assert in_cgroup(client, container) == {"quota": 20000, "period": 50000, "cpus": "0", "memory": 128 * MIB}
    reported = in_force(client, container)
    assert (reported["memory_limit_in_bytes"], reported["cpu_quota"], reported["cpu_shares"]) == (128 * MIB, 20000, 512)
    assert (reported["cpuset_cpus"], reported["oom_score_adj"]) == ("0", 800)
    child = "for one in /proc/[0-9]*; do grep -q sleep $one/comm && cat $one/oom_score_adj; done"
    ours = {pid: Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in node.processes()}
    seen = run(client, container, f"cat /proc/1/oom_score_adj; {child}; cat /proc/self/oom_score_adj")
    assert seen.split() == ["800", "800", "800"]
    assert {pid: Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in ours} == ours
    assert "800\n" not in ours.values()


def test_limits_change_before_the_start(client: CriClient, node: Node, pods: Pods) -> None:
    sandbox = node.pod()
    config = limited(node, memory_limit_in_bytes=64 * MIB)
    container = pods.create(pods.run(sandbox), sandbox, config)
    update(client, container, memory_limit_in_bytes=96 * MIB, cpu_quota=30000, cpu_period=60000, oom_score_adj=700)
    client.StartContainer(api.StartContainerRequest(container_id=container))
    found = in_cgroup(client, container)
    assert (found["memory"], found["quota"], found["period"]) == (96 * MIB, 30000, 60000)
    assert run(client, container, "cat /proc/1/oom_score_adj") == "700\n"


def test_a_change_that_the_kernel_refuses_changes_nothing(client: CriClient, node: Node, pods: Pods) -> None:
    config = limited(node, cpu_quota=20000, cpu_period=50000, memory_limit_in_bytes=64 * MIB, oom_score_adj=600)
    _, container = pods.start("", config=config)
    before = in_cgroup(client, container), in_force(client, container), verbose(client, container)["runtimeSpec"]
    wanted = request(container, cpu_quota=30000, memory_limit_in_bytes=96 * MIB, cpuset_cpus="4000", oom_score_adj=900)
    code, message = refused(client.UpdateContainerResources, wanted)
    assert code == grpc.StatusCode.INTERNAL
    assert "cpuset.cpus" in message
    after = in_cgroup(client, container), in_force(client, container), verbose(client, container)["runtimeSpec"]
    assert after == before
    assert run(client, container, "cat /proc/1/oom_score_adj") == "600\n"


def test_a_successor_of_a_killed_daemon_knows_the_changed_limits(client: CriClient, node: Node, pods: Pods) -> None:
    _, container = pods.start("", config=limited(node, memory_limit_in_bytes=64 * MIB))
    update(client, container, memory_limit_in_bytes=96 * MIB)
    node.end(signal.SIGKILL)
    with node.start() as again:
        assert in_force(again, container)["memory_limit_in_bytes"] == 96 * MIB
        update(again, container, cpu_quota=30000, cpu_period=60000)
        assert in_cgroup(again, container)["memory"] == 96 * MIB


def test_nonsense_and_ended_containers_are_refused(client: CriClient, node: Node, pods: Pods) -> None:
    _, container = pods.start("", config=limited(node, memory_limit_in_bytes=64 * MIB))
    for limits in ({"memory_limit_in_bytes": 1}, {"cpu_quota": -5}, {"oom_score_adj": 2000}):
        code, _ = refused(client.UpdateContainerResources, request(container, **limits))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
    client.StopContainer(api.StopContainerRequest(container_id=container))
    code, _ = refused(client.UpdateContainerResources, request(container, cpu_quota=30000))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    code, _ = refused(client.UpdateContainerResources, request("none", cpu_quota=30000))
    assert code == grpc.StatusCode.NOT_FOUND


def test_resources_of_a_pod_are_kept(client: CriClient, node: Node, pods: Pods) -> None:
    pod = pods.run(node.pod())
    wanted = api.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod)
    wanted.resources.memory_limit_in_bytes = 200 * MIB
    wanted.overhead.memory_limit_in_bytes = 10 * MIB
    client.UpdatePodSandboxResources(wanted)
    node.end(signal.SIGKILL)
    with node.start() as again:
        reply = again.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod, verbose=True))
    info = json.loads(reply.info["info"])
    assert info["resources"] == {"linux": {"memory_limit_in_bytes": 200 * MIB}}
    assert info["overhead"] == {"linux": {"memory_limit_in_bytes": 10 * MIB}}


def test_ulimits_are_the_handlers_and_over_them_those_of_an_annotation(
    client: CriClient, node: Node, pods: Pods
) -> None:
    node.end(signal.SIGTERM)
    node.configure(
        '[runtimes.crun]\nulimits = ["nofile=1000:2000", "core=0"]\npod_annotations = ["ulimits.crisp.io/*"]'
    )
    with node.start() as configured:
        sandbox = node.pod()
        sandbox.annotations["ulimits.crisp.io/main"] = "nofile=512:600"
        pod = configured.RunPodSandbox(api.RunPodSandboxRequest(config=sandbox)).pod_sandbox_id
        node.sandboxes.add(pod)
        for name in ("main", "other"):
            config = node.container("sleep 1000", name)
            config.linux.security_context.namespace_options.pid = api.NamespaceMode.CONTAINER
            made = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
            container = configured.CreateContainer(made).container_id
            configured.StartContainer(api.StartContainerRequest(container_id=container))
            seen = run(configured, container, "grep -E 'open files|core file' /proc/1/limits | tr -s ' '").splitlines()
            nofile = "512 600" if name == "main" else "1000 2000"
            assert [line.rsplit(" ", 2)[0].strip() for line in seen] == [
                "Max core file size 0 0",
                f"Max open files {nofile}",
            ]


def test_dev_shm_has_the_size_of_the_handler_or_of_the_pods_annotation(
    client: CriClient, node: Node, pods: Pods
) -> None:
    node.end(signal.SIGTERM)
    node.configure('[runtimes.crun]\nshm_size = "3Mi"\npod_annotations = ["shm-size.crisp.io"]')
    node.start().close()
    client.wait_ready()
    asking: tuple[tuple[dict[str, str], int], ...] = (({}, 3), ({"shm-size.crisp.io": "5Mi"}, 5))
    for asked, mebibytes in asking:
        sandbox = node.pod()
        sandbox.annotations.update(asked)
        container = pods.create(pods.run(sandbox), sandbox, node.container("sleep 1000"))
        client.StartContainer(api.StartContainerRequest(container_id=container))
        assert run(client, container, "stat -f -c '%S %b' /dev/shm").split() == ["4096", str(mebibytes << 8)]
