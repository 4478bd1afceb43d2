"""crispctl doctor."""

from __future__ import annotations

import sys

import click

from cri import api
from cri.cli.client import Client
from cri.cli.output import json_option, print_json, printable, to_dict


@click.command()
@click.option("--repair", is_flag=True, help="undo what has no owner")
@json_option
@click.pass_obj
def doctor(client: Client, repair: bool, as_json: bool) -> None:
    """Tell what is wrong on this node and what helps: leftovers without an owner, degraded parts, pods without a shim.

    Exits with 1 while something is wrong. `crispd check` tells what the node lacks.
    """
    found: api.ExamineResponse = client.call("Examine", api.ExamineRequest(repair=repair))
    if as_json:
        print_json(to_dict(found))
    else:
        for finding in found.findings:
            click.echo(printable(_describe(finding)))
        if not found.findings:
            click.echo("all is well")
    sys.exit(any(not finding.repaired for finding in found.findings))


def _describe(finding: api.Finding) -> str:
    what = f"{'repaired' if finding.repaired else finding.kind}: {finding.subject}: {finding.text}"
    return f"{what}\n    {finding.remedy}" if finding.remedy else what
