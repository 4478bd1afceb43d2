"""crispctl trace."""

from __future__ import annotations

import json
import os

import click
from rich.console import Console

from cri.cli.calls import calls_of
from cri.cli.chrome import chrome_trace
from cri.cli.client import Client
from cri.cli.output import json_option, print_json
from cri.cli.waterfall import waterfall

START = ("RunPodSandbox", "PullImage", "CreateContainer", "StartContainer")
"""What makes up the start of a pod."""


@click.command()
@click.argument("pod")
@click.option("-a", "--all", "everything", is_flag=True, help="all calls that are known, not only the pod's start")
@click.option("--chrome", metavar="FILE", type=click.Path(dir_okay=False), help="write a trace for ui.perfetto.dev")
@json_option
@click.pass_obj
def trace(client: Client, pod: str, everything: bool, chrome: str | None, as_json: bool) -> None:
    """Show where the time of a pod's start went: its calls, their steps, and what ran at the same time.

    The daemon knows the last call of each kind on each container, since its own start.
    """
    calls = [call for call in calls_of(client, pod) if everything or call["rpc"] in START]
    if not calls:
        raise click.ClickException("the daemon knows of none: it was started after the pod was, or try --all")
    if chrome:
        with open(chrome, "w", encoding="utf-8", opener=_private) as file:
            json.dump(chrome_trace(calls), file)
    if as_json:
        return print_json(calls)
    console = Console(highlight=False, soft_wrap=True)
    for line in waterfall(calls, console.width):
        console.print(line)
    return None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
