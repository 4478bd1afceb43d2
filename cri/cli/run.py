"""crispctl run: a pod with one container, or a container in a pod that is there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack

import click
from rich.console import Console

from cri import api
from cri.cli.client import Client
from cri.cli.cri_log import Entry
from cri.cli.launch import LOG_ROOT, create_container, existing_pod, pod_config, run_pod
from cri.cli.lifecycle import GRACE, stop_container
from cri.cli.logs import Printer, print_log, write_json
from cri.cli.options import Env, Name, Port, name_for
from cri.cli.output import json_option, print_json
from cri.cli.pull import pull_image


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--name", type=Name(), help="of the pod and its container  [default: after the image]")
@click.option("--namespace", type=Name(), default="default", show_default=True)
@click.option("--pod", "in_pod", metavar="POD", help="run in this pod instead of a new one")
@click.option("-p", "--port", "ports", type=Port(), multiple=True, help="publish a port of the pod")
@click.option("--host-network", is_flag=True, help="use the node's network")
@click.option("-e", "--env", "envs", type=Env(), multiple=True, help="environment variable")
@click.option("--log-root", envvar="CRISP_LOG_ROOT", default=LOG_ROOT, show_default=True, help="of pods' logs")
@click.option("-d", "--detach", is_flag=True, help="print the container's id and leave it running")
@click.option("--rm", "remove", is_flag=True, help="remove all of it when the container ends")
@json_option
@click.argument("image")
@click.argument("command", nargs=-1)
@click.pass_obj
def run(  # noqa: PLR0917 - click passes what the user gave
    client: Client,
    name: str | None,
    namespace: str,
    in_pod: str | None,
    ports: tuple[api.PortMapping, ...],
    host_network: bool,
    envs: tuple[api.KeyValue, ...],
    log_root: str,
    detach: bool,
    remove: bool,
    as_json: bool,
    image: str,
    command: tuple[str, ...],
) -> None:
    """Run IMAGE, pulled if it is not here, with COMMAND in place of the image's own arguments.

    Prints what the container writes (with --json as `logs` does) and exits with its exit code; an interrupt stops it.
    """
    if in_pod and (ports or host_network):
        raise click.UsageError("--port and --host-network are a pod's: they do not go with --pod")
    if detach and remove:
        raise click.UsageError("--rm waits for the container's end: it does not go with --detach")
    name = name or name_for(image)
    _ensure_image(client, image)
    with ExitStack() as undo:
        if in_pod:
            pod = existing_pod(client, in_pod)
        else:
            config = pod_config(name, namespace, log_root, ports=ports, host_network=host_network)
            pod = run_pod(client, undo, config)
        container = create_container(client, undo, pod, _container_config(name, image, command, envs))
        client.call("StartContainer", api.StartContainerRequest(container_id=container))
        if not remove:
            undo.pop_all()
        if detach:
            return print_json({"pod": pod.id, "container": container}) if as_json else click.echo(container)
        code = _attend(client, container, write_json if as_json else Printer().write)
    sys.exit(code)


def _ensure_image(client: Client, image: str) -> None:
    if not client.call("ImageStatus", api.ImageStatusRequest(image=api.ImageSpec(image=image))).HasField("image"):
        pull_image(client, image, Console(stderr=True))


def _container_config(
    name: str, image: str, command: tuple[str, ...], envs: tuple[api.KeyValue, ...]
) -> api.ContainerConfig:
    return api.ContainerConfig(
        metadata=api.ContainerMetadata(name=name),
        image=api.ImageSpec(image=image, user_specified_image=image),
        args=command,
        envs=envs,
        linux=api.LinuxContainerConfig(security_context=api.LinuxContainerSecurityContext()),
    )


def _attend(client: Client, container: str, write: Callable[[Entry], None]) -> int:
    """`write` what the container writes until it ends; return its exit code."""
    try:
        print_log(client, container, None, write, follow=True)
    except KeyboardInterrupt:
        stop_container(client, container, GRACE)
    status = client.call("ContainerStatus", api.ContainerStatusRequest(container_id=container)).status
    if status.reason not in ("Completed", "Error", ""):
        click.echo(f"{status.reason}: {status.message}", err=True)
    return int(status.exit_code)
