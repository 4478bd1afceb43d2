"""A container in the PID namespace of another, as kubectl debug asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from cri import api
from rig.cri_client import CriClient
from rig.node import Node

if TYPE_CHECKING:
    from conftest import Pods

pytestmark = pytest.mark.root


def started(node: Node, pods: Pods, client: CriClient) -> tuple[str, api.PodSandboxConfig, str]:
    """A pod, its config and a running container of it."""
    options = api.NamespaceOption(pid=api.NamespaceMode.CONTAINER)
    sandbox = node.pod(security_context=api.LinuxSandboxSecurityContext(namespace_options=options))
    pod = pods.run(sandbox)
    config = node.container("exec sleep 1000")
    config.linux.security_context.namespace_options.CopyFrom(options)
    container = pods.create(pod, sandbox, config)
    client.StartContainer(api.StartContainerRequest(container_id=container))
    return pod, sandbox, container


def debugger(node: Node, target: str) -> api.ContainerConfig:
    config = node.container("exec sleep 2000", name="debugger")
    options = api.NamespaceOption(pid=api.NamespaceMode.TARGET, target_id=target)
    config.linux.security_context.namespace_options.CopyFrom(options)
    return config


def refused(pods: Pods, pod: str, sandbox: api.PodSandboxConfig, config: api.ContainerConfig) -> None:
    with pytest.raises(grpc.RpcError, match="not running in this pod") as caught:
        pods.create(pod, sandbox, config)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_debugger_sees_the_processes_of_its_target(node: Node, pods: Pods, client: CriClient) -> None:
    pod, sandbox, target = started(node, pods, client)
    container = pods.create(pod, sandbox, debugger(node, target))
    client.StartContainer(api.StartContainerRequest(container_id=container))
    request = api.ExecSyncRequest(container_id=container, cmd=["/bin/sh", "-c", "cat /proc/1/cmdline"], timeout=20)
    assert client.ExecSync(request).stdout == b"sleep\x001000\x00"


def test_a_target_of_another_pod_or_of_none_is_refused(node: Node, pods: Pods, client: CriClient) -> None:
    _, _, elsewhere = started(node, pods, client)
    pod, sandbox, target = started(node, pods, client)
    for wrong in (elsewhere, "", "f" * 64, "../../proc"):
        refused(pods, pod, sandbox, debugger(node, wrong))
    client.StopContainer(api.StopContainerRequest(container_id=target, timeout=0))
    refused(pods, pod, sandbox, debugger(node, target))


def test_a_target_that_ends_before_the_start_is_not_joined(node: Node, pods: Pods, client: CriClient) -> None:
    pod, sandbox, target = started(node, pods, client)
    container = pods.create(pod, sandbox, debugger(node, target))
    client.StopContainer(api.StopContainerRequest(container_id=target, timeout=0))
    with pytest.raises(grpc.RpcError, match="not running in this pod"):
        client.StartContainer(api.StartContainerRequest(container_id=container))
    status = client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status
    assert (status.state, status.reason) == (api.ContainerState.CONTAINER_EXITED, "StartError")
