"""Pods of a handler with infra_image: a root container holds their namespaces."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cri import api
from rig.cgroups import ensure_cgroups
from rig.cri_calls import refused, run, status
from rig.cri_client import CriClient
from rig.images import busybox, push
from rig.node import Node, wait_until
from rig.registry import running_registry

pytestmark = pytest.mark.root
READY, NOTREADY = api.SANDBOX_READY, api.SANDBOX_NOTREADY
RUNNING = api.CONTAINER_RUNNING
HANDLER = """
[runtimes.rooted]
binary = "/usr/bin/{runtime}"
infra_image = "{image}"
pod_annotations = ["let.through/*"]
"""
POINTS = ("mounted", "placed", "pinned")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Containers name their own command, so one image is both."""
    ensure_cgroups()
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield push(busybox(Cmd=["sleep", "1000000"]), registry, "library/rooted", "1")


@pytest.fixture
def runtime() -> str:
    return "crun"


@pytest.fixture
def client(node: Node, image: str, runtime: str) -> Iterator[CriClient]:
    node.end(signal.SIGTERM)
    node.configure(HANDLER.format(image=image, runtime=runtime))
    with node.start() as client:
        yield client


def run_pod(node: Node, client: CriClient, **linux: Any) -> tuple[str, api.PodSandboxConfig]:
    config = node.pod(**linux)
    config.annotations.update({"let.through/this": "1", "not/that": "1"})
    request = api.RunPodSandboxRequest(config=config, runtime_handler="rooted")
    pod = str(client.RunPodSandbox(request).pod_sandbox_id)
    node.sandboxes.add(pod)
    return pod, config


def start(node: Node, client: CriClient, pod: str, sandbox: api.PodSandboxConfig, *, pid: int = 1) -> str:
    config = node.container("trap exit TERM; while :; do sleep 0.1; done")
    config.linux.security_context.namespace_options.pid = pid  # type: ignore[assignment]
    request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
    container = str(client.CreateContainer(request).container_id)
    client.StartContainer(api.StartContainerRequest(container_id=container))
    return container


def state(client: CriClient, pod: str) -> int:
    return int(client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod)).status.state)


def root_of(client: CriClient, pod: str) -> int:
    reply = client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod, verbose=True))
    return int(json.loads(reply.info["info"])["pid"])


def end(client: CriClient, pod: str) -> None:
    client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_containers_join_the_namespaces_of_the_root_container(node: Node, client: CriClient) -> None:
    pod, sandbox = run_pod(node, client)
    container = start(node, client, pod, sandbox)
    root = root_of(client, pod)
    for kind in ("net", "ipc", "uts"):
        inside = run(client, container, f"readlink /proc/self/ns/{kind}").strip()
        assert inside == os.readlink(f"/proc/{root}/ns/{kind}")
    assert run(client, container, "readlink /proc/self/ns/pid").strip() != os.readlink(f"/proc/{root}/ns/pid")
    assert run(client, container, "hostname").strip() == "pod"
    assert run(client, container, "ip -o -4 addr show eth0").split()[3].startswith("10.90.0.")
    assert run(client, container, "echo x > /dev/shm/x && cat /dev/shm/x").strip() == "x"
    group = f"/{node.cgroup}/{pod}"
    assert group in Path(f"/proc/{root}/cgroup").read_text(encoding="ascii")
    end(client, pod)
    node.wait_swept()


def test_a_shared_pid_namespace_is_the_root_containers(node: Node, client: CriClient) -> None:
    pod, sandbox = run_pod(
        node, client, security_context={"namespace_options": {"pid": api.NamespaceMode.POD}}
    )
    container = start(node, client, pod, sandbox, pid=api.NamespaceMode.POD)
    assert run(client, container, "cat /proc/1/cmdline").startswith("sleep")


def test_its_spec_tells_shims_what_it_is(node: Node, client: CriClient) -> None:
    pod, sandbox = run_pod(node, client, resources=api.LinuxContainerResources(memory_limit_in_bytes=1 << 30))
    spec = json.loads((node.base / f"run/roots/{pod}/config.json").read_text())
    annotations = {name.removeprefix("io.kubernetes.cri."): value for name, value in spec["annotations"].items()}
    assert annotations["container-type"] == "sandbox"
    assert (annotations["sandbox-id"], annotations["sandbox-name"]) == (pod, "pod")
    assert (annotations["sandbox-namespace"], annotations["sandbox-uid"]) == ("test", sandbox.metadata.uid)
    assert annotations["sandbox-log-directory"] == sandbox.log_directory
    assert annotations["sandbox-memory"] == "1073741824"
    assert annotations["let.through/this"] == "1"
    assert "not/that" not in annotations
    assert not any(spec["process"]["capabilities"].values())


def test_the_pod_is_not_ready_when_its_root_container_ends(node: Node, client: CriClient) -> None:
    pod, sandbox = run_pod(node, client)
    container = start(node, client, pod, sandbox)
    os.kill(root_of(client, pod), signal.SIGKILL)
    wait_until(lambda: state(client, pod) == NOTREADY, "the pod is not ready")
    assert status(client, container).state == RUNNING  # the kubelet's to stop
    end(client, pod)
    node.wait_swept()


def test_a_daemon_that_was_killed_finds_the_pod_as_it_is(node: Node, client: CriClient) -> None:
    (lives, sandbox), (dies, _) = run_pod(node, client), run_pod(node, client)
    container, root = start(node, client, lives, sandbox), root_of(client, dies)
    node.end(signal.SIGKILL)
    os.kill(root, signal.SIGKILL)
    with node.start() as again:
        wait_until(lambda: state(again, dies) == NOTREADY, "the one is not ready")
        assert state(again, lives) == READY
        assert run(again, container, "echo alive") == "alive\n"
        os.kill(root_of(again, lives), signal.SIGKILL)
        wait_until(lambda: state(again, lives) == NOTREADY, "neither is the other")


def test_no_crash_on_the_way_leaves_anything(node: Node, client: CriClient) -> None:
    client.close()
    node.end(signal.SIGTERM)
    for point in POINTS:
        with node.start(f"sandbox.root.{point}=1*kill") as doomed, pytest.raises(grpc.RpcError):
            run_pod(node, doomed)
        assert node.process
        node.process.wait()
        assert node.left(), point
        node.start().close()
        node.wait_swept(f"after {point}")
        node.end(signal.SIGTERM)


def test_the_infra_image_is_pulled_when_it_is_missing_and_stays(node: Node, client: CriClient, image: str) -> None:
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=image)))
    pod, _ = run_pod(node, client)
    assert state(client, pod) == READY
    (found,) = client.ListImages(api.ListImagesRequest()).images
    assert found.pinned


def test_a_user_namespace_is_refused(node: Node, client: CriClient) -> None:
    line = api.IDMapping(host_id=300_000, container_id=0, length=65536)
    users = api.UserNamespace(mode=api.NamespaceMode.POD, uids=[line], gids=[line])
    options = api.NamespaceOption(userns_options=users, pid=api.NamespaceMode.CONTAINER)
    config = node.pod(security_context=api.LinuxSandboxSecurityContext(namespace_options=options))
    request = api.RunPodSandboxRequest(config=config, runtime_handler="rooted")
    code, words = refused(client.RunPodSandbox, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "infra_image" in words
    assert node.left() == []
