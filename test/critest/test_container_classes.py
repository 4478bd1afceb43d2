"""What a configuration makes of containers: block I/O classes, and volumes whose path is missing."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from core.linux.cgroup import CgroupLayout
from cri import api
from rig.cri_calls import refused, verbose
from rig.cri_client import CriClient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
DISK = next(disk for block in Path("/sys/block").iterdir() if (disk := Path("/dev", block.name)).is_block_device())


@pytest.fixture
def client(node: Node) -> CriClient:
    node.end(signal.SIGTERM)
    (node.base / "classes.yaml").write_text(f"Classes: {{slow: [{{Devices: [{DISK}], ThrottleReadBps: 1M}}]}}")
    node.configure(
        f'[blockio]\nclass_file = "{node.base}/classes.yaml"\n'
        "[runtimes.crun]\nstrict_host_paths = true\n"
    )
    return node.start()


def throttled(group: str) -> str:
    """What the kernel has of `group`, by device."""
    layout = CgroupLayout.read()
    if blkio := layout.controllers.get("blkio"):
        return Path(blkio.directory(group), "blkio.throttle.read_bps_device").read_text()
    return Path(layout.directory("io", group), "io.max").read_text()


def test_a_pod_names_its_class_of_block_io(client: CriClient, node: Node, pods: Pods) -> None:
    with client:
        sandbox = node.pod()
        sandbox.annotations["blockio.resources.beta.kubernetes.io/pod"] = "slow"
        pod = pods.run(sandbox)
        container = pods.create(pod, sandbox, node.container("sleep 100"))
        client.StartContainer(api.StartContainerRequest(container_id=container))
        group = verbose(client, container)["runtimeSpec"]["linux"]["cgroupsPath"]
        device = os.stat(DISK).st_rdev
        numbers = f"{os.major(device)}:{os.minor(device)}"
        [limit] = [words for line in throttled(group).splitlines() if (words := line.split())[0] == numbers]
        assert limit[1] in ("1000000", "rbps=1000000")
        sandbox.annotations["blockio.resources.beta.kubernetes.io/container.main"] = "fast"
        config = node.container("sleep 100", "other")
        config.annotations["io.kubernetes.cri.blockio-class"] = "fast"
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        code, message = refused(client.CreateContainer, request)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert "blockio class 'fast'" in message


def test_a_strict_node_makes_no_missing_path(client: CriClient, node: Node, pods: Pods, tmp_path: Path) -> None:
    with client:
        sandbox = node.pod()
        config = node.container("sleep 100")
        config.mounts.add(host_path=str(tmp_path / "missing"), container_path="/data")
        request = api.CreateContainerRequest(pod_sandbox_id=pods.run(sandbox), config=config, sandbox_config=sandbox)
        code, message = refused(client.CreateContainer, request)
        assert code == grpc.StatusCode.NOT_FOUND
        assert f"mount /data: host_path {tmp_path}/missing does not exist" in message
        assert not (tmp_path / "missing").exists()
        (tmp_path / "missing").mkdir()
        assert client.CreateContainer(request).container_id
