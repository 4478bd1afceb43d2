"""crispctl content verify and repair."""

from __future__ import annotations

import sys

import click

from core.api import crisp_upkeep_pb2 as api
from cri.cli.client import Client
from cri.cli.containerd import Containerd
from cri.cli.output import json_option, print_json, printable, to_dict


@click.group()
def content() -> None:
    """Look after what images are made of."""


@content.command()
@json_option
@click.pass_obj
def verify(client: Client, as_json: bool) -> None:
    """Read every blob of every image and tell what is missing or damaged. Exits with 1 when something is."""
    _verify(client, as_json, repair=False)


@content.command()
@json_option
@click.pass_obj
def repair(client: Client, as_json: bool) -> None:
    """The same, and fetch again what is wrong from where it came. Exits with 1 when something could not be mended."""
    _verify(client, as_json, repair=True)


def _verify(client: Client, as_json: bool, *, repair: bool) -> None:
    findings = []
    for finding in Containerd(client).stream("Upkeep.Verify", api.VerifyRequest(repair=repair)):
        findings.append(finding)
        if not as_json:
            click.echo(printable(_describe(finding)))
    if as_json:
        print_json([to_dict(finding) for finding in findings])
    elif not findings:
        click.echo("all is well")
    sys.exit(any(not finding.repaired for finding in findings))


def _describe(finding: api.Finding) -> str:
    what = f"{finding.image}: {finding.subject}: {finding.problem}"
    if finding.repaired:
        return f"repaired: {what}"
    return f"{what}\n    {finding.reason or 'crispctl content repair fetches it again'}"
