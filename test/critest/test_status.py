"""What the node says of itself, also when something is broken."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cri import api
from rig.cri_client import CriClient
from rig.node import wait_until

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
TEMPLATE = """{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "crisptest1",
  "ipam": {"type": "host-local", "subnet": "{{.PodCIDR}}"}}]}"""


def conditions(client: CriClient) -> dict[str, Any]:
    found = client.Status(api.StatusRequest()).status.conditions
    return {condition.type: condition for condition in found}


def test_a_node_on_which_all_is_well_is_ready_and_tells_what_it_can_do(client: CriClient) -> None:
    assert all(condition.status for condition in conditions(client).values())
    features = client.Status(api.StatusRequest()).features
    assert (features.supplemental_groups_policy, features.mount_options) == (True, True)
    driver = client.RuntimeConfig(api.RuntimeConfigRequest()).linux.cgroup_driver
    assert driver == api.CgroupDriver.CGROUPFS


def test_the_features_of_a_handler_are_what_it_was_seen_to_do(client: CriClient) -> None:
    def handlers() -> dict[str, bool]:
        found = client.Status(api.StatusRequest()).runtime_handlers
        return {handler.name: handler.features.recursive_read_only_mounts for handler in found}

    assert set(handlers()) == {"", "crun", "runc"}
    wait_until(lambda: all(handlers().values()), "features are found out")


def test_a_recursive_read_only_mount_is_read_only_below_a_writable_one(
    client: CriClient, node: Node, pods: Pods
) -> None:
    config = node.container("touch /data/shm/x; touch /data/y; exit 0")
    config.mounts.add(container_path="/data", host_path="/dev", readonly=True, recursive_read_only=True)
    _, container = pods.start("", config=config)
    request = api.ContainerStatusRequest(container_id=container)
    wait_until(lambda: client.ContainerStatus(request).status.state == api.CONTAINER_EXITED, "it exits")
    log = Path(client.ContainerStatus(request).status.log_path).read_text()
    assert log.count("Read-only file system") == 2
    assert not os.path.exists("/dev/shm/x")


def test_a_node_without_an_oci_runtime_is_not_ready_and_says_which(node: Node) -> None:
    node.end(signal.SIGTERM)
    node.configure('[runtimes]\ndefault = "gone"\n[runtimes.gone]\nbinary = "/no/such/runtime"')
    with node.start() as client:
        wait_until(lambda: not conditions(client)["RuntimeReady"].status, "it is not ready")
        condition = conditions(client)["RuntimeReady"]
        assert condition.reason == "RuntimeNotReady"
        assert "/no/such/runtime is missing" in condition.message
    node.end(signal.SIGTERM)
    node.configure("")


def test_the_ranges_of_the_node_become_a_network_that_outlives_the_daemon(node: Node) -> None:
    node.end(signal.SIGTERM)
    (node.base / "template").write_text(TEMPLATE)
    (node.base / "config.toml").write_text(
        (node.base / "config.toml").read_text().replace("[cni]", f'[cni]\nconf_template = "{node.base}/template"')
    )
    with node.start() as client:
        request = api.UpdateRuntimeConfigRequest()
        request.runtime_config.network_config.pod_cidr = "10.1.2.0/24"
        client.UpdateRuntimeConfig(request)
    node.end(signal.SIGKILL)
    written = json.loads((node.base / "net.d/10-crisp.conflist").read_bytes())
    assert written["plugins"][0]["ipam"]["subnet"] == "10.1.2.0/24"
    node.configure("")
