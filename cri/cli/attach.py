"""crispctl attach."""

from __future__ import annotations

import json
import sys

import click

from cri import api
from cri.cli.client import Client
from cri.cli.converse import converse, write_through
from cri.cli.inspection import documents
from cri.cli.names import find_container
from cri.cli.output import json_option


@click.command()
@click.option("-i", "--stdin", is_flag=True, help="pass on what is read here, if the container reads")
@json_option
@click.argument("container")
@click.pass_obj
def attach(client: Client, stdin: bool, as_json: bool, container: str) -> None:
    """See what a container writes from now on, with -i at its keyboard, until it ends.

    An interrupt, where the container has no terminal to take it, leaves the container running.
    """
    found = find_container(client, container)
    terminal = _has_terminal(client, found.id)
    request = api.AttachRequest(container_id=found.id, stdin=stdin, stdout=True, stderr=not terminal, tty=terminal)
    url = client.call("Attach", request).url
    sys.exit(converse(url, stdin=stdin, terminal=terminal, write=_write_json if as_json else write_through))


def _has_terminal(client: Client, container: str) -> bool:
    request = api.ContainerStatusRequest(container_id=container, verbose=True)
    info = documents(client.call("ContainerStatus", request).info).get("info")
    return bool(info["config"].get("tty")) if isinstance(info, dict) else False


def _write_json(stream: str, data: bytes) -> None:
    click.echo(json.dumps({"stream": stream, "text": data.decode(errors="replace")}, ensure_ascii=False))
