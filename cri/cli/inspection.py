"""crispctl inspect, crispctl info."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from cri import api
from cri.cli.client import Client
from cri.cli.names import Missing, find
from cri.cli.output import json_option, print_json, print_table, printable, to_dict


@click.command()
@click.argument("target", metavar="CONTAINER|POD|IMAGE")
@click.option("--json", is_flag=True, expose_value=False, help="print JSON, as this command always does")
@click.pass_obj
def inspect(client: Client, target: str) -> None:
    """Print all that the daemon knows of a container, a pod or an image."""
    response = _status(client, target) or _image(client, target)
    if response is None:
        raise Missing(f"there is no container, pod or image {printable(target)!r}")
    subject = response.image if isinstance(response, api.ImageStatusResponse) else response.status
    print_json({"status": to_dict(subject), **documents(response.info)})


@click.command()
@json_option
@click.pass_obj
def info(client: Client, as_json: bool) -> None:
    """Print the daemon's version, conditions, handlers and configuration."""
    version = client.call("Version", api.VersionRequest())
    status = client.call("Status", api.StatusRequest(verbose=True))
    if as_json:
        return print_json({"version": to_dict(version), **to_dict(status), "info": documents(status.info)})
    rows = [("runtime", f"{version.runtime_name} {version.runtime_version}"), ("CRI", version.runtime_api_version)]
    rows += [(one.type, _condition(one)) for one in status.status.conditions]
    rows.append(("handlers", ", ".join(one.name for one in status.runtime_handlers if one.name) or "-"))
    return print_table(("", ""), rows)


def _image(client: Client, reference: str) -> api.ImageStatusResponse | None:
    request = api.ImageStatusRequest(image=api.ImageSpec(image=reference), verbose=True)
    response: api.ImageStatusResponse = client.call("ImageStatus", request)
    return response if response.HasField("image") else None


def _status(
    client: Client, reference: str
) -> api.ContainerStatusResponse | api.PodSandboxStatusResponse | None:
    try:
        found = find(client, reference)
    except Missing:
        return None
    response: api.ContainerStatusResponse | api.PodSandboxStatusResponse
    if isinstance(found, api.PodSandbox):
        response = client.call("PodSandboxStatus", api.PodSandboxStatusRequest(pod_sandbox_id=found.id, verbose=True))
    else:
        response = client.call("ContainerStatus", api.ContainerStatusRequest(container_id=found.id, verbose=True))
    return response


def _condition(condition: api.RuntimeCondition) -> str:
    reasons = ": ".join(text for text in (condition.reason, condition.message) if text)
    return "yes" if condition.status else f"no ({reasons})"


def documents(verbose: Mapping[str, str]) -> dict[str, object]:
    """The info of a verbose reply: each value is JSON, or else a text."""
    return {key: _document(text) for key, text in sorted(verbose.items())}


def _document(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
