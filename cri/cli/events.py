"""crispctl events."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from cri import api
from cri.cli.client import Client
from cri.cli.output import json_option, printable, short, to_dict


@click.command()
@json_option
@click.pass_obj
def events(client: Client, as_json: bool) -> None:
    """Print what happens to pods and containers from now on, one line each, until interrupted."""
    for event in client.stream("GetContainerEvents", api.GetEventsRequest()):
        line = json.dumps(to_dict(event), ensure_ascii=False) if as_json else printable(describe(event))
        click.echo(line)


def describe(event: api.ContainerEventResponse) -> str:
    """`2026-01-01T00:00:00Z started 0123456789abc container main of pod default/web`."""
    time = datetime.fromtimestamp(event.created_at // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kind = api.ContainerEventType.Name(event.container_event_type).removeprefix("CONTAINER_").removesuffix("_EVENT")
    return f"{time} {kind.lower()} {short(event.container_id)} {_subject(event)}"


def _subject(event: api.ContainerEventResponse) -> str:
    """Pods have events, too, under the pod's own id; of what was removed there is no status."""
    pod = event.pod_sandbox_status
    name = f"pod {pod.metadata.namespace}/{pod.metadata.name}" if pod.id else ""
    names = [one.metadata.name for one in event.containers_statuses if one.id == event.container_id]
    return f"container {names[0]} of {name}" if names else name
