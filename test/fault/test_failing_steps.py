"""A step that fails when what it was for is done already: what is told is true all the same."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from cri import api
from rig.cri_calls import status, verbose, wait_exited
from rig.processes import is_running

if TYPE_CHECKING:
    from critest.conftest import Pods

    from rig.cri_client import CriClient
    from rig.node import Node

pytestmark = pytest.mark.root


def test_a_container_whose_start_fails_when_it_runs_already_does_not_run_on(
    node: Node, pods: Pods, client: CriClient
) -> None:
    """The kubelet starts another one in its place (hazards 3.5)."""
    sandbox = node.pod()
    pod = pods.run(sandbox)
    container = pods.create(pod, sandbox, node.container("trap '' TERM; sleep 1000"))
    node.end(signal.SIGTERM)
    with node.start("container.start.started=1*errno(EIO)") as again:
        with pytest.raises(grpc.RpcError, match="Input/output error"):
            again.StartContainer(api.StartContainerRequest(container_id=container))
        found = status(again, container)
        assert (found.state, found.exit_code, found.reason) == (api.CONTAINER_EXITED, 128, "StartError")
        groups = Path("/sys/fs/cgroup").glob(f"*/{node.cgroup}/{container}/cgroup.procs")
        assert not any(group.read_text() for group in groups)
        again.RemoveContainer(api.RemoveContainerRequest(container_id=container))


def test_an_exit_that_cannot_be_recorded_is_told_and_costs_no_other_container_its_life(
    node: Node, pods: Pods, client: CriClient
) -> None:
    """As when /run is full (hazards 3.12)."""
    sandbox = node.pod()
    node.end(signal.SIGTERM)
    with node.start("shim.exit.saved=1*errno(ENOSPC)") as again:
        pod = str(again.RunPodSandbox(api.RunPodSandboxRequest(config=sandbox)).pod_sandbox_id)
        node.sandboxes.add(pod)
        ids = []
        for script, name in (("sleep 1000", "runs"), ("exit 7", "ends")):
            request = api.CreateContainerRequest(
                pod_sandbox_id=pod, config=node.container(script, name), sandbox_config=sandbox
            )
            ids.append(again.CreateContainer(request).container_id)
            again.StartContainer(api.StartContainerRequest(container_id=ids[-1]))
        running, ending = ids
        assert wait_exited(again, ending).exit_code == 7
        assert is_running(verbose(again, running)["pid"])
        assert status(again, running).state == api.CONTAINER_RUNNING
        again.RemoveContainer(api.RemoveContainerRequest(container_id=ending))
