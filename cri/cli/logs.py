"""crispctl logs."""

from __future__ import annotations

import json
from collections.abc import Callable

import click

from cri import api
from cri.cli import log_file
from cri.cli.client import Client
from cri.cli.cri_log import Entry, Parser
from cri.cli.names import find_container
from cri.cli.output import json_option

ALIVE = (api.ContainerState.CONTAINER_CREATED, api.ContainerState.CONTAINER_RUNNING)


@click.command()
@click.argument("container")
@click.option("-f", "--follow", is_flag=True, help="go on until the container ends")
@click.option("--tail", "lines", type=click.IntRange(min=0), help="only the last N lines  [default: all]", metavar="N")
@click.option("--timestamps", is_flag=True, help="begin each line with its time")
@json_option
@click.pass_obj
def logs(  # noqa: PLR0917 - click passes what the user gave
    client: Client, container: str, follow: bool, lines: int | None, timestamps: bool, as_json: bool
) -> None:
    """Print a container's log, its stdout on stdout and its stderr on stderr. Run it on the container's node."""
    found = find_container(client, container)
    write = write_json if as_json else Printer(timestamps).write
    print_log(client, found.id, lines, write, follow=follow)


def print_log(
    client: Client, container: str, lines: int | None, write: Callable[[Entry], None], *, follow: bool
) -> None:
    """`write` each entry from the last `lines` lines on, and when following those that come until the container ends.

    Raises ClickException when there is no log.
    """

    def status() -> api.ContainerStatus:
        reply: api.ContainerStatusResponse = client.call(
            "ContainerStatus", api.ContainerStatusRequest(container_id=container)
        )
        return reply.status

    if not (path := status().log_path):
        raise click.ClickException(f"container {container} keeps no log")
    parser = Parser()
    try:
        for data in log_file.read(path, lines, lambda: follow and status().state in ALIVE):
            for entry in parser.feed(data):
                write(entry)
    except FileNotFoundError:
        raise click.ClickException(f"container {container} has no log at {path} yet") from None


class Printer:
    """Writes entries as the container did, the parts of a long line joined."""

    def __init__(self, timestamps: bool = False) -> None:
        self._timestamps = timestamps
        self._within = {b"stdout": False, b"stderr": False}
        """Whether the stream's line goes on."""

    def write(self, entry: Entry) -> None:
        stamp = entry.time + b" " if self._timestamps and not self._within[entry.stream] else b""
        self._within[entry.stream] = not entry.full
        end = b"\n" if entry.full else b""
        click.echo(stamp + entry.text + end, nl=False, err=entry.stream == b"stderr")


def write_json(entry: Entry) -> None:
    texts = {name: getattr(entry, name).decode(errors="replace") for name in ("time", "stream", "text")}
    click.echo(json.dumps({**texts, "full": entry.full}, ensure_ascii=False))
