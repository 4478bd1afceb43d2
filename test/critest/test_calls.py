"""Why is it slow? What a client and an operator hear of the steps of calls."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cri import api
from rig.cri_calls import written
from rig.cri_client import CriClient
from rig.node import wait_until
from rig.patience import patient
from rig.processes import halt_shim, resume_shim

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STUBBORN = "trap '' TERM; echo up; while true; do sleep 0.05; done"


def calls(client: CriClient, pod: str) -> list[dict[str, Any]]:
    request = api.PodSandboxStatusRequest(pod_sandbox_id=pod, verbose=True)
    found: list[dict[str, Any]] = json.loads(client.PodSandboxStatus(request).info["calls"])
    return found


def test_a_pods_start_is_told_with_the_steps_of_each_call(client: CriClient, pods: Pods, node: Node) -> None:
    pod, container = pods.start("sleep 1000")
    client.ExecSync(api.ExecSyncRequest(container_id=container, cmd=["true"]))
    found = {call["rpc"]: call for call in calls(client, pod)}
    assert list(found) == ["PullImage", "RunPodSandbox", "CreateContainer", "StartContainer", "ExecSync"]
    assert all(call["outcome"] == "OK" for call in found.values())
    names = {rpc: {step["name"] for step in call["steps"]} for rpc, call in found.items()}
    assert names["RunPodSandbox"] >= {"namespaces", "fork shim", "shim CreateSandbox", "files", "network", "record"}
    assert names["CreateContainer"] >= {"host paths", "bundle", "snapshot", "mount", "record"}
    assert names["StartContainer"] >= {"shim Create", "shim Start", "record"}
    assert names["PullImage"] >= {"resolve", "documents", "fetch", "process unpack", "sync", "record"}
    assert found["StartContainer"]["object"] == container
    assert found["PullImage"]["object"] == node.image
    for call in found.values():
        assert all(0 <= step["start"] <= step["start"] + step["seconds"] for step in call["steps"])


def test_a_client_hears_before_its_deadline_at_which_step_its_call_is(client: CriClient, pods: Pods) -> None:
    pod, container = pods.start(STUBBORN)
    wait_until(lambda: written(client, container) == ["up"], "the trap is set")
    with pytest.raises(grpc.RpcError, match=r"'exit of the container' took [0-9.]+ s") as caught:
        client.StopContainer(api.StopContainerRequest(container_id=container, timeout=600), timeout=1.5)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    stop = calls(client, pod)[-1]
    assert (stop["rpc"], stop["outcome"]) == ("StopContainer", "DEADLINE_EXCEEDED")


def test_a_slow_call_is_logged_with_its_slowest_step(client: CriClient, pods: Pods, node: Node) -> None:
    (_, container), (pod, other) = pods.start(STUBBORN), pods.start("sleep 1000")
    wait_until(lambda: written(client, container) == ["up"], "the trap is set")
    client.StopContainer(api.StopContainerRequest(container_id=container, timeout=3))  # that long it may take
    halt_shim(pod)
    with pytest.raises(grpc.RpcError):
        client.ReopenContainerLog(api.ReopenContainerLogRequest(container_id=other), timeout=3)
    resume_shim(pod)
    told = node.base / "crispd.log"
    wait_until(lambda: "rpc=ReopenContainerLog" in told.read_text(), "it is told")
    slow = [line for line in told.read_text().splitlines() if "slow call" in line]
    assert not [line for line in slow if "rpc=StopContainer" in line]
    [line] = [line for line in slow if "rpc=ReopenContainerLog" in line]
    assert "slowest=\"'shim ReopenLog' took " in line


async def test_spans_of_calls_hang_below_the_kubelets(node: Node) -> None:
    node.end(signal.SIGTERM)
    spans: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        for span in (await request.json())["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            spans.put_nowait(span)
        return web.json_response({})

    application = web.Application()
    application.router.add_post("/v1/traces", take)
    async with TestServer(application) as server:
        node.configure(f'[tracing]\nendpoint = "{server.make_url("/v1/traces")}"')
        await asyncio.to_thread(run_traced, node)
        async with asyncio.timeout(patient(20)):
            found = [await spans.get() for _ in range(5)]
    assert {span["traceId"] for span in found} == {TRACE}
    assert found[0]["name"] == "RunPodSandbox"
    assert found[0]["parentSpanId"] == SPAN
    assert {"namespaces", "files"} <= {span["name"] for span in found}


def run_traced(node: Node) -> None:
    """Run a pod as a kubelet does that records traces."""
    request = api.RunPodSandboxRequest(config=node.pod())
    with node.start() as client:
        pod = client.RunPodSandbox(request, metadata=(("traceparent", f"00-{TRACE}-{SPAN}-01"),)).pod_sandbox_id
    node.sandboxes.add(pod)
