"""crispctl stats."""

from __future__ import annotations

import click

from cri import api
from cri.cli.client import Client
from cri.cli.output import json_option, print_json, print_table, short, size, to_dict

COLUMNS = ("CONTAINER", "NAME", "CPU %", "MEMORY", "DISK", "INODES")


@click.command()
@click.option("-w", "--watch", type=click.FloatRange(min=0.1), metavar="S", help="look again each S seconds")
@json_option
@click.pass_obj
def stats(client: Client, watch: float | None, as_json: bool) -> None:
    """List what containers use, the largest first; CPU in percent of one core."""

    def look() -> api.ListContainerStatsResponse:
        found: api.ListContainerStatsResponse = client.call("ListContainerStats", api.ListContainerStatsRequest())
        return found

    if watch:
        from cri.cli.live import look_again, table  # noqa: PLC0415 - rich takes 60 ms, which one look need not have

        return look_again(look, lambda found: table(COLUMNS, rows(found)), watch, None, as_json=as_json)
    return print_json(to_dict(look())) if as_json else print_table(COLUMNS, rows(look()))


def rows(found: api.ListContainerStatsResponse) -> list[tuple[str, ...]]:
    return [row(one) for one in sorted(found.stats, key=lambda one: -one.memory.working_set_bytes.value)]


def row(one: api.ContainerStats) -> tuple[str, ...]:
    return (
        short(one.attributes.id),
        one.attributes.metadata.name,
        percent(one.cpu),
        size(one.memory.working_set_bytes.value),
        size(one.writable_layer.used_bytes.value),
        str(one.writable_layer.inodes_used.value),
    )


def percent(cpu: api.CpuUsage) -> str:
    """The daemon knows a rate from its second measurement on."""
    return f"{cpu.usage_nano_cores.value / 1e7:.1f}" if cpu.HasField("usage_nano_cores") else "-"
