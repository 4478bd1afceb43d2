"""crispctl logs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime

import click

from cri import api
from cri.cli import log_file
from cri.cli.client import Client
from cri.cli.cri_log import Entry, Parser
from cri.cli.names import find_container, find_previous
from cri.cli.options import Span
from cri.cli.output import json_option

ALIVE = (api.ContainerState.CONTAINER_CREATED, api.ContainerState.CONTAINER_RUNNING)


@click.command()
@click.argument("container")
@click.option("-f", "--follow", is_flag=True, help="go on until the container ends")
@click.option("--tail", "lines", type=click.IntRange(min=0), help="only the last N lines  [default: all]", metavar="N")
@click.option("--since", type=Span(), help="only what was written in the last, say, 10m")
@click.option("-p", "--previous", is_flag=True, help="of the container that this one replaced")
@click.option("--timestamps", is_flag=True, help="begin each line with its time")
@json_option
@click.pass_obj
def logs(  # noqa: PLR0917 - click passes what the user gave
    client: Client,
    container: str,
    follow: bool,
    lines: int | None,
    since: float | None,
    previous: bool,
    timestamps: bool,
    as_json: bool,
) -> None:
    """Print a container's log, its stdout on stdout and its stderr on stderr. Run it on the container's node."""
    found = find_container(client, container)
    if previous:
        found = find_previous(client, found)
    write = write_json if as_json else Printer(timestamps).write
    if since is not None:
        write = Later(time.time() - since, write).write
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


class Later:
    """Passes on the entries from the first one on that was written after `begin`, in seconds since the epoch."""

    def __init__(self, begin: float, write: Callable[[Entry], None]) -> None:
        self._begin = begin
        self._write = write
        self._begun = False

    def write(self, entry: Entry) -> None:
        self._begun = self._begun or _written_at(entry) >= self._begin
        if self._begun:
            self._write(entry)


def _written_at(entry: Entry) -> float:
    try:
        return datetime.fromisoformat(entry.time.decode()).timestamp()
    except ValueError:  # some other daemon's: rather show it
        return time.time()


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
