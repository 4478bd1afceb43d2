"""One action on each of several things."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import click

from cri.cli.output import print_json


def each(references: Iterable[str], act: Callable[[str], str], as_json: bool) -> None:
    """`act` on each and print the id that it returns; what fails is told, the others are done, the exit code is 1."""
    done: list[str] = []
    failed = False
    for reference in references:
        try:
            done.append(act(reference))
        except click.ClickException as error:
            failed = True
            click.echo(f"Error: {error.format_message()}", err=True)
        else:
            if not as_json:
                click.echo(done[-1])
    if as_json:
        print_json(done)
    sys.exit(failed)
