"""crispctl pods, crispctl ps."""

from __future__ import annotations

from collections.abc import Iterable

import click

from cri import api
from cri.cli.client import Client
from cri.cli.names import find_pod
from cri.cli.options import Label
from cri.cli.output import ago, json_option, print_json, print_table, quiet_option, short, to_dict

label_option = click.option("-l", "--label", "labels", type=Label(), multiple=True, help="only those with this label")


@click.command()
@label_option
@click.option("-n", "--namespace", help="only those of this namespace")
@quiet_option
@json_option
@click.pass_obj
def pods(
    client: Client, labels: tuple[tuple[str, str], ...], namespace: str | None, quiet: bool, as_json: bool
) -> None:
    """List pods, the newest first."""
    wanted = api.PodSandboxFilter(label_selector=dict(labels))
    response = client.call("ListPodSandbox", api.ListPodSandboxRequest(filter=wanted))
    found = [one for one in response.items if namespace in (None, one.metadata.namespace)]
    found.sort(key=lambda pod: -pod.created_at)
    if as_json:
        return print_json(to_dict(api.ListPodSandboxResponse(items=found)))
    if quiet:
        return _print_ids(found)
    return print_table(
        ("POD", "NAME", "NAMESPACE", "STATE", "AGE", "HANDLER"),
        (
            (
                short(pod.id),
                pod.metadata.name,
                pod.metadata.namespace,
                api.PodSandboxState.Name(pod.state).removeprefix("SANDBOX_").lower(),
                ago(pod.created_at),
                pod.runtime_handler or "-",
            )
            for pod in found
        ),
    )


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="also those that do not run, and how they ended")
@click.option("--pod", metavar="POD", help="only those of this pod")
@label_option
@quiet_option
@json_option
@click.pass_obj
def ps(  # noqa: PLR0917 - click passes what the user gave
    client: Client,
    everything: bool,
    pod: str | None,
    labels: tuple[tuple[str, str], ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """List running containers, the newest first."""
    running = api.ContainerStateValue(state=api.ContainerState.CONTAINER_RUNNING)
    wanted = api.ContainerFilter(
        state=None if everything else running,
        pod_sandbox_id=find_pod(client, pod).id if pod else "",
        label_selector=dict(labels),
    )
    response = client.call("ListContainers", api.ListContainersRequest(filter=wanted))
    if as_json:
        return print_json(to_dict(response))
    found = sorted(response.containers, key=lambda one: -one.created_at)
    if quiet:
        return _print_ids(found)
    return print_table(
        ("CONTAINER", "NAME", "IMAGE", "STATE", "AGE", "ATTEMPT", "POD"),
        [
            (
                short(one.id),
                one.metadata.name,
                one.image.user_specified_image or one.image.image,
                _state(client, one),
                ago(one.created_at),
                str(one.metadata.attempt),
                short(one.pod_sandbox_id),
            )
            for one in found
        ],
    )


def _state(client: Client, container: api.Container) -> str:
    """`running`, or `exited 137 OOMKilled`, which a list does not tell. One that is gone meanwhile has just exited."""
    state = api.ContainerState.Name(container.state).removeprefix("CONTAINER_").lower()
    if container.state != api.ContainerState.CONTAINER_EXITED:
        return state
    try:
        reply = client.call("ContainerStatus", api.ContainerStatusRequest(container_id=container.id))
    except click.ClickException:
        return state
    return f"{state} {reply.status.exit_code} {reply.status.reason}"


def _print_ids(found: Iterable[api.Container | api.PodSandbox]) -> None:
    for one in found:
        click.echo(one.id)
