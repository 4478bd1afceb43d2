"""Requests of the benchmark: a one-container pod as the kubelet sends it, with a PID namespace of its own."""

from __future__ import annotations

import uuid
from pathlib import Path

from cri import api
from rig.cri_client import CriClient

SLEEP = ["/bin/sleep", "1000000"]


def sandbox_config(name: str, logs: Path) -> api.PodSandboxConfig:
    uid = str(uuid.uuid4())
    directory = logs / f"bench_{name}_{uid}"
    directory.mkdir(parents=True)
    return api.PodSandboxConfig(
        metadata=api.PodSandboxMetadata(name=name, uid=uid, namespace="bench"),
        hostname=name,
        log_directory=str(directory),
        dns_config=api.DNSConfig(servers=["10.96.0.10"], searches=["bench.svc.cluster.local"]),
        linux=api.LinuxPodSandboxConfig(
            cgroup_parent="/crisp-bench",
            security_context=api.LinuxSandboxSecurityContext(
                namespace_options=api.NamespaceOption(pid=api.NamespaceMode.CONTAINER)
            ),
        ),
    )


def container_config(image: str, command: list[str]) -> api.ContainerConfig:
    return api.ContainerConfig(
        metadata=api.ContainerMetadata(name="main"),
        image=api.ImageSpec(image=image),
        command=command,
        log_path="main_0.log",
        linux=api.LinuxContainerConfig(
            resources=api.LinuxContainerResources(cpu_shares=102, memory_limit_in_bytes=256 << 20),
            security_context=api.LinuxContainerSecurityContext(
                namespace_options=api.NamespaceOption(pid=api.NamespaceMode.CONTAINER)
            ),
        ),
    )


def start_pod(client: CriClient, name: str, logs: Path, image: str, command: list[str]) -> tuple[str, str]:
    """Run a pod with one started container; return the ids of both."""
    config = sandbox_config(name, logs)
    pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=config)).pod_sandbox_id
    request = api.CreateContainerRequest(
        pod_sandbox_id=pod, config=container_config(image, command), sandbox_config=config
    )
    container = client.CreateContainer(request).container_id
    client.StartContainer(api.StartContainerRequest(container_id=container))
    return pod, container


def remove_pod(client: CriClient, pod: str) -> None:
    client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
