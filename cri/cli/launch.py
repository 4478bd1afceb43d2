"""Pods and containers as `crispctl run` makes them: configured as the kubelet would, each undone by an `undo` stack."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import ExitStack
from dataclasses import dataclass

import click
from google.protobuf.json_format import ParseDict

from cri import api
from cri.cli.client import DEADLINE, Client
from cri.cli.inspection import documents
from cri.cli.lifecycle import remove_pod
from cri.cli.names import find_pod

LOG_ROOT = "/var/log/pods"
"""Where the kubelet keeps logs, as <namespace>_<name>_<uid>/<container>/<attempt>.log; log collectors look there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    id: str
    config: api.PodSandboxConfig


def pod_config(
    name: str, namespace: str, log_root: str, *, ports: tuple[api.PortMapping, ...] = (), host_network: bool = False
) -> api.PodSandboxConfig:
    uid = str(uuid.uuid4())
    network = api.NamespaceMode.NODE if host_network else api.NamespaceMode.POD
    options = api.NamespaceOption(network=network, pid=api.NamespaceMode.CONTAINER)
    return api.PodSandboxConfig(
        metadata=api.PodSandboxMetadata(name=name, namespace=namespace, uid=uid),
        hostname="" if host_network else name,
        log_directory=os.path.abspath(f"{log_root}/{namespace}_{name}_{uid}"),
        port_mappings=ports,
        linux=api.LinuxPodSandboxConfig(security_context=api.LinuxSandboxSecurityContext(namespace_options=options)),
    )


def run_pod(client: Client, undo: ExitStack, config: api.PodSandboxConfig) -> Pod:
    os.makedirs(config.log_directory)
    undo.callback(shutil.rmtree, config.log_directory, ignore_errors=True)
    # CNI plugins may take their time: the kubelet, too, allows twice its usual time for this call
    reply = client.call("RunPodSandbox", api.RunPodSandboxRequest(config=config), 2 * DEADLINE)
    undo.callback(remove_pod, client, reply.pod_sandbox_id)
    return Pod(id=reply.pod_sandbox_id, config=config)


def existing_pod(client: Client, reference: str) -> Pod:
    """Its config is in the verbose status; the daemon wants it with each container, as the kubelet sends it."""
    pod = find_pod(client, reference)
    request = api.PodSandboxStatusRequest(pod_sandbox_id=pod.id, verbose=True)
    info = documents(client.call("PodSandboxStatus", request).info).get("info")
    config = info.get("config") if isinstance(info, dict) else None
    if not config:
        raise click.ClickException(f"the daemon does not tell how pod {pod.id} is configured")
    return Pod(id=pod.id, config=ParseDict(config, api.PodSandboxConfig(), ignore_unknown_fields=True))


def create_container(client: Client, undo: ExitStack, pod: Pod, config: api.ContainerConfig) -> str:
    """Its id. It shares the namespaces that the pod has, and logs below the pod's directory."""
    options = pod.config.linux.security_context.namespace_options
    config.linux.security_context.namespace_options.CopyFrom(options)
    if pod.config.log_directory:
        config.log_path = f"{config.metadata.name}/0.log"
        os.makedirs(os.path.join(pod.config.log_directory, config.metadata.name), exist_ok=True)
    request = api.CreateContainerRequest(pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config)
    container = str(client.call("CreateContainer", request).container_id)
    undo.callback(client.call, "RemoveContainer", api.RemoveContainerRequest(container_id=container))
    return container
