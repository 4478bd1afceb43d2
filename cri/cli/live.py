"""Looking again and again: a table that stands still on a terminal, or a line of JSON for each look."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import click
from google.protobuf.message import Message
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cri.cli.output import printable, to_dict

M = TypeVar("M", bound=Message)

interval_option = click.option(
    "--interval", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="time between two looks, in s"
)
count_option = click.option("-n", "--count", type=click.IntRange(min=1), help="end after so many looks")


def look_again(
    look: Callable[[], M], show: Callable[[M], Table], interval: float, count: int | None, *, as_json: bool
) -> None:
    """`count` looks, or until interrupted. The whole screen is taken only from who has one, and got back."""
    console = Console()
    live = Live(console=console, auto_refresh=False, screen=console.is_terminal, vertical_overflow="crop")
    looks = itertools.count() if count is None else range(count)
    try:
        if as_json:
            for _ in _paced(looks, interval):
                click.echo(json.dumps(to_dict(look())))
        elif not console.is_terminal:
            for _ in _paced(looks, interval):
                console.print(show(look()))
        else:
            with live:
                for _ in _paced(looks, interval):
                    live.update(show(look()), refresh=True)
    except KeyboardInterrupt:
        return


def table(header: Sequence[str], rows: Iterable[Sequence[str]], names: int = 2) -> Table:
    """The first `names` columns are texts, the others numbers."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(header):
        made.add_column(title, justify="left" if number < names else "right", no_wrap=True)
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def _paced(looks: Iterable[int], interval: float) -> Iterable[int]:
    for number in looks:
        if number:
            time.sleep(interval)
        yield number
