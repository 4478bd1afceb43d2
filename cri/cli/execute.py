"""crispctl exec."""

from __future__ import annotations

import sys

import click

from cri import api
from cri.cli.client import DEADLINE, Client
from cri.cli.converse import converse
from cri.cli.names import find_container
from cri.cli.output import json_option, print_json


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("-i", "--stdin", is_flag=True, help="pass on what is read here")
@click.option("-t", "--tty", is_flag=True, help="give the command a terminal, whose screen is here")
@click.option("--timeout", type=click.IntRange(min=0), default=0, help="end the command after that many s; 0: never")
@json_option
@click.argument("container")
@click.argument("command", nargs=-1, required=True)
@click.pass_obj
def execute(  # noqa: PLR0917 - click passes what the user gave
    client: Client, stdin: bool, tty: bool, timeout: int, as_json: bool, container: str, command: tuple[str, ...]
) -> None:
    """Run a command in a running container and exit with its code.

    With -i or -t what it writes comes as it is written, else when it has ended.
    """
    live = stdin or tty
    if live and (timeout or as_json):
        raise click.UsageError("--timeout and --json wait for the command's end: they do not go with -i and -t")
    found = find_container(client, container)
    if live:
        request = api.ExecRequest(
            container_id=found.id, cmd=command, tty=tty, stdin=stdin, stdout=True, stderr=not tty
        )
        sys.exit(converse(client.call("Exec", request).url, stdin=stdin, terminal=tty))
    sys.exit(_run(client, found.id, command, timeout, as_json=as_json))


def _run(client: Client, container: str, command: tuple[str, ...], timeout: int, *, as_json: bool) -> int:
    request = api.ExecSyncRequest(container_id=container, cmd=command, timeout=timeout)
    response = client.call("ExecSync", request, DEADLINE + timeout if timeout else None)
    if as_json:
        texts = {name: getattr(response, name).decode(errors="replace") for name in ("stdout", "stderr")}
        print_json({**texts, "exitCode": response.exit_code})
    else:
        click.echo(response.stdout, nl=False)
        click.echo(response.stderr, nl=False, err=True)
    return int(response.exit_code)
