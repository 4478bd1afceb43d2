"""crispctl stop, stopp, rm, rmp."""

from __future__ import annotations

import click

from cri import api
from cri.cli.client import DEADLINE, Client
from cri.cli.names import find_container, find_pod
from cri.cli.output import json_option, short
from cri.cli.several import each

GRACE = 10
"""Seconds between the stop signal and SIGKILL, unless told otherwise."""

grace_option = click.option(
    "-t", "--time", "grace", type=click.IntRange(min=0), default=GRACE, show_default=True, help="grace, in s"
)


@click.command()
@click.argument("container", nargs=-1, required=True)
@grace_option
@json_option
@click.pass_obj
def stop(client: Client, container: tuple[str, ...], grace: int, as_json: bool) -> None:
    """Stop containers."""

    def end(reference: str) -> str:
        found = find_container(client, reference)
        stop_container(client, found.id, grace)
        return found.id

    each(container, end, as_json)


@click.command("stopp")
@click.argument("pod", nargs=-1, required=True)
@grace_option
@json_option
@click.pass_obj
def stop_pods(client: Client, pod: tuple[str, ...], grace: int, as_json: bool) -> None:
    """Stop pods with all their containers."""

    def end(reference: str) -> str:
        found = find_pod(client, reference)
        stop_pod(client, found.id, grace)
        return found.id

    each(pod, end, as_json)


@click.command("rm")
@click.argument("container", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="also those that run")
@json_option
@click.pass_obj
def remove(client: Client, container: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Remove containers. Their log files stay."""

    def end(reference: str) -> str:
        found = find_container(client, reference)
        if found.state == api.ContainerState.CONTAINER_RUNNING and not force:
            raise click.ClickException(f"container {short(found.id)} runs: stop it first, or use --force")
        client.call("RemoveContainer", api.RemoveContainerRequest(container_id=found.id))
        return found.id

    each(container, end, as_json)


@click.command("rmp")
@click.argument("pod", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="also those that run")
@json_option
@click.pass_obj
def remove_pods(client: Client, pod: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Remove pods with all their containers. Their log files stay."""

    def end(reference: str) -> str:
        found = find_pod(client, reference)
        if found.state == api.PodSandboxState.SANDBOX_READY and not force:
            raise click.ClickException(f"pod {short(found.id)} runs: stop it first, or use --force")
        remove_pod(client, found.id)
        return found.id

    each(pod, end, as_json)


def stop_container(client: Client, container: str, grace: int) -> None:
    client.call("StopContainer", api.StopContainerRequest(container_id=container, timeout=grace), DEADLINE + grace)


def stop_pod(client: Client, pod: str, grace: int) -> None:
    """Stop its containers, each with `grace` seconds, all at once, then the pod: StopPodSandbox alone kills them."""
    listed = client.call("ListContainers", api.ListContainersRequest(filter=api.ContainerFilter(pod_sandbox_id=pod)))
    requests = [api.StopContainerRequest(container_id=one.id, timeout=grace) for one in listed.containers]
    for call in [client.begin("StopContainer", request, DEADLINE + grace) for request in requests]:
        client.result(call)
    client.call("StopPodSandbox", api.StopPodSandboxRequest(pod_sandbox_id=pod))


def remove_pod(client: Client, pod: str) -> None:
    """What runs in it is killed."""
    client.call("StopPodSandbox", api.StopPodSandboxRequest(pod_sandbox_id=pod))
    client.call("RemovePodSandbox", api.RemovePodSandboxRequest(pod_sandbox_id=pod))
