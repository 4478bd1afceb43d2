"""The Prometheus endpoint of a daemon."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cri import api
from rig.cri_client import CriClient
from rig.node import wait_until
from rig.patience import patient
from rig.registry import free_port

if TYPE_CHECKING:
    from conftest import Node

pytestmark = pytest.mark.root

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(port: int) -> Samples:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=patient(10)) as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        text = response.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_tells_calls_pulls_and_what_there_is(client: CriClient, node: Node) -> None:
    node.end(signal.SIGTERM)
    port = free_port()
    node.configure(f'[metrics]\naddress = "127.0.0.1:{port}"')
    with node.start() as watched:
        wait_until(lambda: is_served(port), "metrics are served")
        pod = watched.RunPodSandbox(api.RunPodSandboxRequest(config=node.pod())).pod_sandbox_id
        node.sandboxes.add(pod)
        watched.PullImage(api.PullImageRequest(image=api.ImageSpec(image=node.image)))
        with pytest.raises(grpc.RpcError):
            watched.ContainerStatus(api.ContainerStatusRequest(container_id="none"))
        found = scrape(port)
        assert found["crisp_cri_call_seconds_count", (("code", "OK"), ("method", "RunPodSandbox"))] == 1
        assert found["crisp_cri_call_seconds_count", (("code", "NOT_FOUND"), ("method", "ContainerStatus"))] == 1
        assert found["crisp_pull_seconds_count", (("outcome", "ok"),)] == 1
        assert found["crisp_collection_seconds_count", (("outcome", "ok"),)] == 1
        for name in ("crisp_pods_ready", "crisp_shims", "crisp_images", "crisp_network_ready"):
            assert found[name, ()] == 1, name
        assert found["process_resident_memory_bytes", ()] > 1 << 20
        assert 100 << 10 < found["crisp_shims_memory_bytes", ()] < 20 << 20
        assert found["crisp_queue", (("queue", "calls"),)] == 0
        watched.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
        assert scrape(port)["crisp_shims", ()] == 0
    node.end(signal.SIGTERM)
    node.configure("")
    node.start().close()
    assert not is_served(port)


def is_served(port: int) -> bool:
    try:
        scrape(port)
    except urllib.error.URLError:
        return False
    return True


def start(node: Node, client: CriClient, script: str) -> str:
    """A pod with one running container, whose id is returned."""
    config = node.pod()
    pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=config)).pod_sandbox_id
    node.sandboxes.add(pod)
    request = api.CreateContainerRequest(pod_sandbox_id=pod, config=node.container(script), sandbox_config=config)
    container = str(client.CreateContainer(request).container_id)
    client.StartContainer(api.StartContainerRequest(container_id=container))
    return container


def test_what_shims_write_into_logs_is_counted(node: Node) -> None:
    node.end(signal.SIGTERM)
    port = free_port()
    node.configure(f'[metrics]\naddress = "127.0.0.1:{port}"')
    with node.start() as watched:
        wait_until(lambda: is_served(port), "metrics are served")
        long = "head -c 20000 /dev/zero | tr '\\0' x"
        container = start(node, watched, f"echo one; echo two >&2; {long}; echo; printf tail")
        status = api.ContainerStatusRequest(container_id=container)
        wait_until(lambda: bool(watched.ContainerStatus(status).status.finished_at), "it has ended")
        log = Path(watched.ContainerStatus(status).status.log_path).read_bytes()
        found = scrape(port)
        assert found["crisp_log_bytes_total", ()] == len(log)
        assert found["crisp_log_lines_total", ()] == log.count(b"\n")
        assert found["crisp_log_split_total", ()] == log.count(b" P ") == 2
        assert found["crisp_log_dropped_bytes_total", ()] == 0
