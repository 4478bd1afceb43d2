"""crispctl pods, crispctl ps."""

from __future__ import annotations

import click

from cri import api
from cri.cli.client import Client
from cri.cli.names import find_pod
from cri.cli.output import ago, json_option, print_json, print_table, short, to_dict


@click.command()
@json_option
@click.pass_obj
def pods(client: Client, as_json: bool) -> None:
    """List pods, the newest first."""
    response = client.call("ListPodSandbox", api.ListPodSandboxRequest())
    if as_json:
        return print_json(to_dict(response))
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
            for pod in sorted(response.items, key=lambda pod: -pod.created_at)
        ),
    )


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="also those that do not run")
@click.option("--pod", metavar="POD", help="only those of this pod")
@json_option
@click.pass_obj
def ps(client: Client, everything: bool, pod: str | None, as_json: bool) -> None:
    """List running containers, the newest first."""
    running = api.ContainerStateValue(state=api.ContainerState.CONTAINER_RUNNING)
    wanted = api.ContainerFilter(
        state=None if everything else running, pod_sandbox_id=find_pod(client, pod).id if pod else ""
    )
    response = client.call("ListContainers", api.ListContainersRequest(filter=wanted))
    if as_json:
        return print_json(to_dict(response))
    return print_table(
        ("CONTAINER", "NAME", "IMAGE", "STATE", "AGE", "ATTEMPT", "POD"),
        (
            (
                short(one.id),
                one.metadata.name,
                one.image.user_specified_image or one.image.image,
                api.ContainerState.Name(one.state).removeprefix("CONTAINER_").lower(),
                ago(one.created_at),
                str(one.metadata.attempt),
                short(one.pod_sandbox_id),
            )
            for one in sorted(response.containers, key=lambda one: -one.created_at)
        ),
    )
