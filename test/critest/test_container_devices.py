"""Devices of the node, and those that vendors describe, seen from inside the container."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cri import api
from rig.cri_calls import refused, run
from rig.cri_client import CriClient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
DEVICE = "vendor.com/thing=one"


def configured(node: Node, extra: str) -> None:
    node.end(15)
    node.configure(extra)
    node.start().close()


def describe(directory: Path, device: Path) -> None:
    """A CDI file of one device, a node with the numbers of /dev/fuse: opening it alone does nothing."""
    os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(10, 229))
    edits: dict[str, Any] = {
        "env": ["THING=here"],
        "deviceNodes": [{"path": "/dev/thing", "hostPath": str(device), "permissions": "r"}],
        "mounts": [{"hostPath": str(directory), "containerPath": "/thing", "options": ["rbind", "ro"]}],
    }
    document = {
        "cdiVersion": "0.6.0",
        "kind": "vendor.com/thing",
        "devices": [{"name": "one", "containerEdits": edits}],
    }
    directory.mkdir()
    (directory / "thing.json").write_text(json.dumps(document))


def test_a_described_device_is_there_by_field_and_by_annotation(node: Node, pods: Pods, tmp_path: Path) -> None:
    configured(node, f'[cdi]\nspec_dirs = ["{tmp_path}/cdi"]')
    describe(tmp_path / "cdi", tmp_path / "thing")  # after the start: nothing has to be told
    by_field, by_annotation = (node.container("sleep 1000") for _ in range(2))
    by_field.CDI_devices.add(name=DEVICE)
    by_annotation.annotations["cdi.k8s.io/plugin"] = DEVICE
    with CriClient(str(node.base / "run/crisp.sock")) as client:
        for config in (by_field, by_annotation):
            config.linux.security_context.run_as_user.value = 1000
            sandbox = node.pod()
            pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=sandbox)).pod_sandbox_id
            node.sandboxes.add(pod)
            request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
            container = client.CreateContainer(request).container_id
            client.StartContainer(api.StartContainerRequest(container_id=container))
            script = "echo $THING; stat -c %u:%a /dev/thing; ls /thing; exec 3< /dev/thing && echo opened"
            assert run(client, container, script).splitlines() == ["here", "1000:600", "thing.json", "opened"]
            assert "Operation not permitted" in run(client, container, "exec 3> /dev/thing")


def test_a_device_that_nobody_describes_is_refused_by_name(client: CriClient, node: Node, pods: Pods) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)
    config = node.container("true")
    config.CDI_devices.add(name="vendor.com/none=one")
    request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
    code, message = refused(client.CreateContainer, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "vendor.com/none=one" in message
    assert "/etc/cdi" in message
    assert not list(node.base.glob("run/containers/*"))


def test_devices_are_made_as_asked_and_owned_by_the_user_where_the_handler_says_so(
    node: Node, pods: Pods, tmp_path: Path
) -> None:
    configured(node, "[runtimes.crun]\ndevice_ownership_from_security_context = true")
    (tmp_path / "group").mkdir()
    for name, minor in (("a", 5), ("b", 3)):
        os.mknod(tmp_path / "group" / name, 0o600 | stat.S_IFCHR, os.makedev(1, minor))
    config = node.container("sleep 1000")
    config.linux.security_context.run_as_user.value = 1000
    config.devices.add(host_path=str(tmp_path / "group"), container_path="/dev/group", permissions="rw")
    with CriClient(str(node.base / "run/crisp.sock")) as client:
        sandbox = node.pod()
        pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=sandbox)).pod_sandbox_id
        node.sandboxes.add(pod)
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        container = client.CreateContainer(request).container_id
        client.StartContainer(api.StartContainerRequest(container_id=container))
        seen = run(client, container, "stat -c %n:%u /dev/group/*; head -c 3 /dev/group/a | wc -c")
        assert seen.splitlines() == ["/dev/group/a:1000", "/dev/group/b:1000", "3"]
