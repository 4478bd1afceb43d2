"""Stats of containers and pods, as the kubelet's summary and `crictl stats` ask for them."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from core.network.netns import inside
from core.wiring.wiring import OPEN_FILES
from cri import api
from rig.cgroups import existing
from rig.cri_client import CriClient
from rig.networks import output
from rig.node import wait_until
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
MIB = 1 << 20
BUSY = "dd if=/dev/zero of=/data bs=1M count=3 2>/dev/null; touch /a /b; sleep 1000 & while true; do :; done"


def stats_of(client: CriClient, container: str) -> Any:
    return client.ContainerStats(api.ContainerStatsRequest(container_id=container)).stats


def pod_stats_of(client: CriClient, pod: str) -> Any:
    return client.PodSandboxStats(api.PodSandboxStatsRequest(pod_sandbox_id=pod)).stats


def listed(client: CriClient, **filter_: Any) -> set[str]:
    request = api.ListContainerStatsRequest(filter=api.ContainerStatsFilter(**filter_) if filter_ else None)
    return {stats.attributes.id for stats in client.ListContainerStats(request).stats}


def listed_pods(client: CriClient, **filter_: Any) -> set[str]:
    request = api.ListPodSandboxStatsRequest(filter=api.PodSandboxStatsFilter(**filter_) if filter_ else None)
    return {stats.attributes.id for stats in client.ListPodSandboxStats(request).stats}


def pressure_is_measured(node: Node) -> bool:
    return any((place / "cpu.pressure").exists() for place in existing(f"/{node.cgroup}"))


def test_a_running_container_tells_every_field(client: CriClient, node: Node, pods: Pods) -> None:
    config = node.container(BUSY)
    config.labels["tier"] = "front"
    config.annotations["note"] = "kept"
    config.linux.resources.memory_limit_in_bytes = 64 * MIB
    _, container = pods.start("", config=config)
    written = Path(f"/proc/{pid_of(client, container)}/root/b")
    wait_until(written.exists, "the container has written its files")
    first = stats_of(client, container)
    used = first.cpu.usage_core_nano_seconds.value
    wait_until(lambda: stats_of(client, container).cpu.usage_core_nano_seconds.value > used, "it has used the CPU")
    wait_until(lambda: stats_of(client, container).cpu.usage_nano_cores.value > 100_000_000, "it is seen to be busy")
    found = stats_of(client, container)
    assert (found.attributes.id, found.attributes.metadata.name) == (container, "main")
    assert (dict(found.attributes.labels), dict(found.attributes.annotations)) == ({"tier": "front"}, {"note": "kept"})
    assert found.cpu.usage_core_nano_seconds.value > first.cpu.usage_core_nano_seconds.value > 0
    assert found.cpu.timestamp > first.cpu.timestamp
    memory = found.memory
    assert 0 < memory.rss_bytes.value <= memory.working_set_bytes.value <= memory.usage_bytes.value < 64 * MIB
    assert memory.available_bytes.value == 64 * MIB - memory.working_set_bytes.value
    assert memory.page_faults.value > 0
    assert memory.HasField("major_page_faults")
    assert found.swap.HasField("swap_usage_bytes")
    layer = found.writable_layer
    assert 3 * MIB <= layer.used_bytes.value < 4 * MIB
    assert 4 <= layer.inodes_used.value < 20  # the files, the root, and what crun made to mount on
    info = client.ImageFsInfo(api.ImageFsInfoRequest())
    (filesystem,) = info.image_filesystems
    (image,) = client.ListImages(api.ListImagesRequest()).images
    assert layer.fs_id == filesystem.fs_id == info.container_filesystems[0].fs_id
    assert filesystem.used_bytes.value > image.size + layer.used_bytes.value
    assert filesystem.inodes_used.value > layer.inodes_used.value
    if pressure_is_measured(node):
        assert found.cpu.psi.Some.Total > 0
        assert found.memory.HasField("psi")
        assert found.io.HasField("psi")


def pid_of(client: CriClient, container: str) -> int:
    return int(info_of(client, container)["pid"])


def info_of(client: CriClient, container: str) -> Any:
    request = api.ContainerStatusRequest(container_id=container, verbose=True)
    return json.loads(client.ContainerStatus(request).info["info"])


def test_lists_are_filtered_by_id_sandbox_and_labels_and_ids_may_be_cut(
    client: CriClient, node: Node, pods: Pods
) -> None:
    config = node.container("sleep 1000")
    config.labels["tier"] = "front"
    pod, container = pods.start("", config=config)
    other_pod, other = pods.start("sleep 1000")
    assert listed(client) == {container, other}
    assert listed(client, id=container[:13]) == listed(client, pod_sandbox_id=pod[:13]) == {container}
    assert listed(client, label_selector={"tier": "front"}) == {container}
    assert listed(client, id=container, pod_sandbox_id=other_pod) == set()
    assert listed(client, label_selector={"tier": "back"}) == set()
    assert listed_pods(client) == {pod, other_pod}
    assert listed_pods(client, id=other_pod[:13]) == {other_pod}
    uid = client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod)).status.metadata.uid
    assert listed_pods(client, label_selector={"uid": uid}) == {pod}
    for call in (lambda: stats_of(client, "none"), lambda: pod_stats_of(client, "none")):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_stopped_container_has_its_layer_and_nothing_else(client: CriClient, pods: Pods) -> None:
    _, container = pods.start("dd if=/dev/zero of=/data bs=1M count=2 2>/dev/null")
    exited = api.ContainerState.CONTAINER_EXITED
    request = api.ContainerStatusRequest(container_id=container)
    wait_until(lambda: client.ContainerStatus(request).status.state == exited, "the container has exited")
    found = stats_of(client, container)
    assert found.attributes.id == container
    assert found.writable_layer.used_bytes.value >= 2 * MIB
    assert not any(found.HasField(field) for field in ("cpu", "memory", "swap", "io"))
    client.RemoveContainer(api.RemoveContainerRequest(container_id=container))
    assert listed(client) == set()


def test_a_pod_tells_its_network_its_processes_and_its_containers(client: CriClient, node: Node, pods: Pods) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)
    for name in ("one", "two"):
        container = pods.create(pod, sandbox, node.container("sleep 1000 & sleep 2000 & wait", name))
        client.StartContainer(api.StartContainerRequest(container_id=container))
    wait_until(lambda: pod_stats_of(client, pod).linux.process.process_count.value == 6, "six processes are counted")
    before = pod_stats_of(client, pod).linux
    ping = ["/bin/ping", "-c", "3", "-i", "0.1", "-s", "1000", "10.90.0.1"]
    client.ExecSync(api.ExecSyncRequest(container_id=container, cmd=ping, timeout=int(patient(10))))
    found = pod_stats_of(client, pod)
    linux = found.linux
    assert (found.attributes.id, found.attributes.metadata.uid) == (pod, sandbox.metadata.uid)
    assert {one.attributes.metadata.name for one in linux.containers} == {"one", "two"}
    assert [one.name for one in linux.network.interfaces] == ["eth0"]
    assert linux.network.default_interface == linux.network.interfaces[0]
    assert linux.network.default_interface.tx_bytes.value >= before.network.default_interface.tx_bytes.value + 3000
    assert linux.network.default_interface.rx_bytes.value >= before.network.default_interface.rx_bytes.value + 3000
    parts = sum(one.cpu.usage_core_nano_seconds.value for one in linux.containers)
    assert linux.cpu.usage_core_nano_seconds.value >= parts > 0
    assert linux.memory.working_set_bytes.value > 0
    assert linux.cpu.HasField("usage_nano_cores")


def test_a_pod_whose_interface_is_gone_tells_no_network(client: CriClient, node: Node, pods: Pods) -> None:
    """As each has while it stops; the kubelet dies of a network without a default interface."""
    pod, _ = pods.start("sleep 1000")
    assert pod_stats_of(client, pod).linux.HasField("network")
    inside(str(node.base / "run/sandboxes" / pod / "ns/net"), lambda: output("ip", "link", "del", "eth0"))
    assert not pod_stats_of(client, pod).linux.HasField("network")


def test_pods_in_one_control_group_are_told_apart(client: CriClient, pods: Pods) -> None:
    busy, _ = pods.start("while true; do :; done")
    idle, _ = pods.start("sleep 1000")
    second = 1_000_000_000
    wait_until(lambda: pod_stats_of(client, busy).linux.cpu.usage_core_nano_seconds.value > second, "one pod is busy")
    found = pod_stats_of(client, idle).linux
    assert found.cpu.usage_core_nano_seconds.value < second
    assert found.process.process_count.value == 1


def test_a_stopped_pod_is_not_listed_and_one_without_a_cgroup_is(client: CriClient, node: Node, pods: Pods) -> None:
    empty = pods.run(node.pod())
    pod, container = pods.start("sleep 1000")
    client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    assert listed_pods(client) == {empty}
    found = pod_stats_of(client, pod).linux
    assert [one.attributes.id for one in found.containers] == [container]
    assert not found.HasField("cpu")
    assert not found.HasField("network")


def test_a_container_whose_processes_vanish_while_it_is_read_breaks_no_list(client: CriClient, pods: Pods) -> None:
    """The daemon holds its files open; a killed container's group is gone before its record says so."""
    started = [pods.start("sleep 1000")[1] for _ in range(4)]
    victims = {one: pid_of(client, one) for one in started[:3]}
    assert listed(client) == set(started)
    for pid in victims.values():
        os.kill(pid, signal.SIGKILL)
        assert listed(client) == set(started)
    wait_until(lambda: not any(stats_of(client, one).HasField("cpu") for one in victims), "the dead tell no usage")
    assert stats_of(client, started[3]).HasField("memory")


def test_a_new_daemon_finds_the_usage_of_an_earlier_ones_containers(client: CriClient, node: Node, pods: Pods) -> None:
    pod, container = pods.start("while true; do :; done")
    before = stats_of(client, container).cpu.usage_core_nano_seconds.value
    node.end(signal.SIGKILL)
    with node.start() as again:
        assert stats_of(again, container).cpu.usage_core_nano_seconds.value > before
        assert pod_stats_of(again, pod).linux.network.default_interface.name == "eth0"


def test_removed_containers_leave_no_open_files(client: CriClient, node: Node, pods: Pods) -> None:
    kept, _ = pods.start("sleep 1000")
    listed(client), listed_pods(client)
    assert node.process
    descriptors = Path(f"/proc/{node.process.pid}/fd")
    before = control_files(descriptors)
    pod, _ = pods.start("sleep 1000")
    listed(client), listed_pods(client)
    assert len(control_files(descriptors)) > len(before) > 0
    client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
    assert listed_pods(client) == {kept}
    assert control_files(descriptors) == before


def control_files(descriptors: Path) -> list[str]:
    links = [os.readlink(one) for one in descriptors.iterdir() if one.is_symlink()]
    return sorted(link for link in links if link.startswith("/sys/fs/cgroup"))


def test_crispd_may_open_many_files_and_containers_no_more_than_it_was_given(node: Node, pods: Pods) -> None:
    node.end(signal.SIGTERM)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        client = node.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert node.process
    limits = Path(f"/proc/{node.process.pid}/limits").read_text()
    assert re.search(rf"Max open files +{min(OPEN_FILES, hard)} +{hard} ", limits)
    with client:
        _, container = pods.start("sleep 1000")
        reply = client.ExecSync(api.ExecSyncRequest(container_id=container, cmd=["sh", "-c", "ulimit -Sn"]))
    assert int(reply.stdout) == 1024
