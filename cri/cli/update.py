"""crispctl update."""

from __future__ import annotations

import click

from cri import api
from cri.cli.client import Client
from cri.cli.names import find_container
from cri.cli.options import Size
from cri.cli.output import json_option
from cri.cli.several import each

PERIOD = 100_000
"""Microseconds in which a quota of CPU time is counted, as the kubelet sets it."""


@click.command()
@click.argument("container", nargs=-1, required=True)
@click.option("-m", "--memory", type=Size(), help="most memory, like 512m")
@click.option("--cpus", type=click.FloatRange(min=0.01), help="most CPU time, in cores: 1.5")
@click.option("--cpu-shares", type=click.IntRange(min=2), help="share of CPU time beside others; 1024 is one core's")
@click.option("--cpuset-cpus", metavar="LIST", help="on which processors only: 0-3,8")
@click.option("--cpuset-mems", metavar="LIST", help="on which memory nodes only")
@json_option
@click.pass_obj
def update(  # noqa: PLR0917 - click passes what the user gave
    client: Client,
    container: tuple[str, ...],
    memory: int | None,
    cpus: float | None,
    cpu_shares: int | None,
    cpuset_cpus: str | None,
    cpuset_mems: str | None,
    as_json: bool,
) -> None:
    """Change the limits of containers that run, or will.

    What is not named stays. The kubelet does not know of it: a container that it starts anew has its own limits again.
    """
    limits = api.LinuxContainerResources(
        memory_limit_in_bytes=memory or 0,
        cpu_shares=cpu_shares or 0,
        cpuset_cpus=cpuset_cpus or "",
        cpuset_mems=cpuset_mems or "",
    )
    if cpus:
        limits.cpu_period, limits.cpu_quota = PERIOD, round(cpus * PERIOD)
    if not limits.ByteSize():
        raise click.UsageError("name a limit to change: --memory, --cpus, --cpu-shares, --cpuset-cpus, --cpuset-mems")

    def change(reference: str) -> str:
        found = find_container(client, reference)
        request = api.UpdateContainerResourcesRequest(container_id=found.id, linux=limits)
        client.call("UpdateContainerResources", request)
        return found.id

    each(container, change, as_json)
