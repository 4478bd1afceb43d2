"""An OCI runtime that dies half way, or whose container does (hazards 3.9): one container fails, and leaves nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import grpc
import pytest

from cri import api
from rig.cri_calls import run, status

if TYPE_CHECKING:
    from rig.cri_client import CriClient
    from rig.node import Node

pytestmark = pytest.mark.root

HANDLER = """
[runtimes.mortal]
binary = "{base}/mortal"
"""
RUNTIME = """#!/bin/sh
case "$*" in *" create "*) test -e BASE/dies || exec /usr/bin/crun "$@" ;; *) exec /usr/bin/crun "$@" ;; esac
how=$(cat BASE/dies)
rm BASE/dies
test $how = before && kill -9 $$
/usr/bin/crun "$@"
while test "$1" != --pid-file; do shift; done
test $how = init && kill -9 $(cat $2)
test $how = after && kill -9 $$
exit 0
"""


@pytest.fixture
def client(node: Node) -> Iterator[CriClient]:
    runtime = node.base / "mortal"
    runtime.write_text(RUNTIME.replace("BASE", str(node.base)))
    runtime.chmod(0o755)
    node.end(signal.SIGTERM)
    node.configure(HANDLER.format(base=node.base))
    with node.start() as client:
        yield client


@pytest.mark.parametrize("how", ["before", "after", "init"])
def test_a_container_whose_creation_dies_half_way_fails_alone(node: Node, client: CriClient, how: str) -> None:
    sandbox = node.pod()
    pod = str(client.RunPodSandbox(api.RunPodSandboxRequest(config=sandbox, runtime_handler="mortal")).pod_sandbox_id)
    node.sandboxes.add(pod)
    ids = []
    for name in ("first", "second"):
        request = api.CreateContainerRequest(
            pod_sandbox_id=pod, config=node.container("sleep 1000", name), sandbox_config=sandbox
        )
        ids.append(str(client.CreateContainer(request).container_id))
    (node.base / "dies").write_text(how)
    with pytest.raises(grpc.RpcError) as caught:
        client.StartContainer(api.StartContainerRequest(container_id=ids[0]), timeout=60)
    assert caught.value.code() != grpc.StatusCode.DEADLINE_EXCEEDED
    assert status(client, ids[0]).state == api.CONTAINER_EXITED
    client.RemoveContainer(api.RemoveContainerRequest(container_id=ids[0]))
    client.StartContainer(api.StartContainerRequest(container_id=ids[1]))
    assert run(client, ids[1], "echo alive") == "alive\n"
