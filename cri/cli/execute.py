"""crispctl exec."""

from __future__ import annotations

import sys

import click

from cri import api
from cri.cli.client import DEADLINE, Client
from cri.cli.names import find_container
from cri.cli.output import json_option, print_json


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("--timeout", type=click.IntRange(min=0), default=0, help="end the command after that many s; 0: never")
@json_option
@click.argument("container")
@click.argument("command", nargs=-1, required=True)
@click.pass_obj
def execute(client: Client, timeout: int, as_json: bool, container: str, command: tuple[str, ...]) -> None:
    """Run a command in a running container and exit with its code. What it wrote comes when it has ended."""
    found = find_container(client, container)
    request = api.ExecSyncRequest(container_id=found.id, cmd=command, timeout=timeout)
    response = client.call("ExecSync", request, DEADLINE + timeout if timeout else None)
    if as_json:
        texts = {name: getattr(response, name).decode(errors="replace") for name in ("stdout", "stderr")}
        print_json({**texts, "exitCode": response.exit_code})
    else:
        click.echo(response.stdout, nl=False)
        click.echo(response.stderr, nl=False, err=True)
    sys.exit(response.exit_code)
