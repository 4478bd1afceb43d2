"""CRI conformance, black box over the socket: a real crispd on directories and a network of its own."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cri import api
from rig.cgroups import ensure_cgroups, remove_cgroups
from rig.cri_client import CriClient
from rig.images import busybox, push
from rig.node import Node
from rig.registry import running_registry


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    ensure_cgroups()
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield push(busybox(), registry, "library/busybox", "1.36")


@pytest.fixture
def nri() -> bool:
    """Whether the node serves NRI; a module that wants it says so."""
    return False


@pytest.fixture
def node(tmp_path: Path, image: str, nri: bool) -> Iterator[Node]:
    """Ends with the proof that nothing is left."""
    node = Node(tmp_path, image)
    node.configure("", nri=nri)
    with node.start() as client:
        client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=image)))
    yield node
    assert node.process
    if node.process.poll() is not None:
        node.start().close()
    with CriClient(str(tmp_path / "run/crisp.sock")) as client:
        for pod in client.ListPodSandbox(api.ListPodSandboxRequest()).items:
            client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod.id))
    node.wait_swept()
    node.end(signal.SIGTERM)
    assert "crisptest0" not in [name for _, name in socket.if_nameindex()]
    remove_cgroups(f"/{node.cgroup}")  # the kubelet's to remove


@pytest.fixture
def client(node: Node) -> Iterator[CriClient]:
    with CriClient(str(node.base / "run/crisp.sock")) as client:
        client.wait_ready()
        yield client


class Pods:
    """Shorthand for the calls that every test makes."""

    def __init__(self, node: Node, client: CriClient) -> None:
        self._node = node
        self._client = client

    def run(self, config: api.PodSandboxConfig) -> str:
        pod = str(self._client.RunPodSandbox(api.RunPodSandboxRequest(config=config)).pod_sandbox_id)
        self._node.sandboxes.add(pod)
        return pod

    def create(self, pod: str, sandbox: api.PodSandboxConfig, config: api.ContainerConfig) -> str:
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        return str(self._client.CreateContainer(request).container_id)

    def start(self, script: str, *, config: api.ContainerConfig | None = None) -> tuple[str, str]:
        """A pod with one running container; the ids of both."""
        sandbox = self._node.pod()
        pod = self.run(sandbox)
        container = self.create(pod, sandbox, config or self._node.container(script))
        self._client.StartContainer(api.StartContainerRequest(container_id=container))
        return pod, container


@pytest.fixture
def pods(node: Node, client: CriClient) -> Pods:
    return Pods(node, client)
