"""What hangs, or fails for ever, costs the one pod that it belongs to some time, and nobody else anything."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from core.linux.cgroup import CgroupLayout
from core.linux.mount import MNT_DETACH, mount, umount2
from cri import api
from rig.cri_client import CriClient
from rig.node import wait_until
from rig.patience import patient
from rig.processes import halt_shim, resume_shim

if TYPE_CHECKING:
    from critest.conftest import Pods

    from rig.node import Node

pytestmark = pytest.mark.root
GRANTED = 5
"""Seconds that the client waits."""


def status(client: CriClient, container: str) -> Any:
    return client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status


@contextlib.contextmanager
def dead_server(path: Path) -> Iterator[None]:
    """A filesystem whose server never answers."""
    path.mkdir()
    fuse = os.open("/dev/fuse", os.O_RDWR)
    try:
        mount("dead", str(path), "fuse", 0, f"fd={fuse},rootmode=40000,user_id=0,group_id=0")
        yield
    finally:
        os.close(fuse)  # ends whoever waits for it
        umount2(str(path), MNT_DETACH)


def test_a_host_path_whose_server_is_dead_fails_its_container_and_holds_up_no_other(
    client: CriClient, node: Node, pods: Pods
) -> None:
    """The root of the mount, which the kernel has in its cache."""
    sandbox = node.pod()
    pod = pods.run(sandbox)
    config = node.container("sleep 1000")
    config.mounts.add(container_path="/data", host_path=f"{node.base}/server")
    with dead_server(node.base / "server"), ThreadPoolExecutor(8) as threads:
        hanging = [threads.submit(pods.create, pod, sandbox, config) for _ in range(8)]  # more than there are threads
        _, other = pods.start("sleep 1000")
        assert status(client, other).state == api.CONTAINER_RUNNING
        for call in hanging:
            with pytest.raises(grpc.RpcError, match="server does not answer") as caught:
                call.result()
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    config.mounts[0].host_path = str(node.base)
    pods.create(pod, sandbox, config)  # the name is free


def freeze(group: str) -> None:
    layout = CgroupLayout.read()
    if freezer := layout.controllers.get("freezer"):
        state = Path(freezer.directory(group), "freezer.state")
        state.write_text("FROZEN")
        wait_until(lambda: state.read_text() == "FROZEN\n", "it is frozen")
        return
    assert layout.unified
    place = Path(layout.unified.directory(group))
    (place / "cgroup.freeze").write_text("1")
    wait_until(lambda: "frozen 1" in (place / "cgroup.events").read_text(), "it is frozen")


def test_a_frozen_container_can_be_stopped(client: CriClient, node: Node, pods: Pods) -> None:
    _, container = pods.start("trap '' TERM; touch /tmp/deaf; while true; do sleep 0.05; done")
    command = ["/bin/sh", "-c", "until test -e /tmp/deaf; do sleep 0.01; done"]
    client.ExecSync(api.ExecSyncRequest(container_id=container, cmd=command, timeout=int(patient(20))))
    freeze(f"/{node.cgroup}/{container}")
    client.StopContainer(api.StopContainerRequest(container_id=container, timeout=1))
    assert status(client, container).exit_code == 137


def test_calls_to_a_shim_that_stands_still_fail_by_name_and_hold_up_no_other_pod(
    client: CriClient, pods: Pods, node: Node
) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)
    new = pods.create(pod, sandbox, node.container("sleep 1000", "new"))
    running = pods.create(pod, sandbox, node.container("sleep 1000", "running"))
    client.StartContainer(api.StartContainerRequest(container_id=running))
    halt_shim(pod)
    with ThreadPoolExecutor(4) as threads:
        hanging = [
            threads.submit(method, request, timeout=GRANTED)
            for method, request in (
                (client.StartContainer, api.StartContainerRequest(container_id=new)),
                (client.ExecSync, api.ExecSyncRequest(container_id=running, cmd=["/bin/true"], timeout=60)),
                (client.StopContainer, api.StopContainerRequest(container_id=running, timeout=60)),
                (client.ReopenContainerLog, api.ReopenContainerLogRequest(container_id=running)),
            )
        ]
        _, other = pods.start("sleep 1000")
        client.StopContainer(api.StopContainerRequest(container_id=other, timeout=0))
        assert client.Status(api.StatusRequest()).status
        for call in hanging:
            with pytest.raises(grpc.RpcError, match=r"not done .* 'shim \w+' (for|took) ") as caught:
                call.result()
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    resume_shim(pod)
    client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    assert status(client, running).exit_code in (137, 143)  # the stop signal has come, late


PLUGIN = """#!/bin/sh
case $CNI_COMMAND in
ADD) echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.91.0.2/24"}]}' ;;
DEL) test -e DIRECTORY/well || { echo '{"code": 11, "msg": "the server of addresses is down"}'; exit 1; } ;;
esac
"""


@pytest.fixture
def failing_network(node: Node) -> Iterator[Path]:
    """The node's pods are on a network that cannot be left until the file `well`, which is returned, is there."""
    well = node.base / "plugins/well"
    well.parent.mkdir()
    plugin = well.parent / "stubborn"
    plugin.write_text(PLUGIN.replace("DIRECTORY", str(well.parent)))
    plugin.chmod(0o755)
    configure(node, f'bin_dirs = ["{well.parent}"]')
    (node.base / "net.d").mkdir()
    document = '{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "stubborn"}]}'
    (node.base / "net.d/10-pods.conflist").write_text(document)
    yield well
    well.touch()
    wait_until(lambda: not list((node.base / "root/cni/attachments").iterdir()), "all attachments are given up")


def configure(node: Node, network: str) -> None:
    """Start the node again, with more in its section [cni]."""
    node.end(signal.SIGTERM)
    path = node.base / "config.toml"
    path.write_text(path.read_text().replace("[cni]", f"[cni]\n{network}"))
    node.start().close()


def test_a_pod_without_its_network_namespace_need_not_wait_for_a_plugin_that_fails(
    node: Node, failing_network: Path
) -> None:
    with CriClient(str(node.base / "run/crisp.sock")) as client:
        client.wait_ready()
        wait_until(lambda: is_network_ready(client), "the plugin is found")
        pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=node.pod())).pod_sandbox_id
        node.sandboxes.add(pod)
        request = api.StopPodSandboxRequest(pod_sandbox_id=pod)
        with pytest.raises(grpc.RpcError, match="server of addresses is down"):
            client.StopPodSandbox(request)
        subprocess.run(["umount", str(node.base / f"run/sandboxes/{pod}/ns/net")], check=True)
        client.StopPodSandbox(request)
        client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
        assert [path.stem for path in (node.base / "root/cni/attachments").iterdir()] == [pod]  # never forgotten
        failing_network.touch()
        wait_until(lambda: not list((node.base / "root/cni/attachments").iterdir()), "the plugin is asked again")


def is_network_ready(client: CriClient) -> bool:
    conditions = client.Status(api.StatusRequest()).status.conditions
    return all(condition.status for condition in conditions if condition.type == "NetworkReady")
