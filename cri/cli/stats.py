"""crispctl stats."""

from __future__ import annotations

import click

from cri import api
from cri.cli.client import Client
from cri.cli.output import json_option, print_json, print_table, short, size, to_dict


@click.command()
@json_option
@click.pass_obj
def stats(client: Client, as_json: bool) -> None:
    """List what containers use, the largest first; CPU in percent of one core."""
    response = client.call("ListContainerStats", api.ListContainerStatsRequest())
    if as_json:
        return print_json(to_dict(response))
    by_memory = sorted(response.stats, key=lambda one: -one.memory.working_set_bytes.value)
    return print_table(("CONTAINER", "NAME", "CPU %", "MEMORY", "DISK", "INODES"), map(row, by_memory))


def row(one: api.ContainerStats) -> tuple[str, ...]:
    return (
        short(one.attributes.id),
        one.attributes.metadata.name,
        _percent(one.cpu),
        size(one.memory.working_set_bytes.value),
        size(one.writable_layer.used_bytes.value),
        str(one.writable_layer.inodes_used.value),
    )


def _percent(cpu: api.CpuUsage) -> str:
    """The daemon knows a rate from its second measurement on."""
    return f"{cpu.usage_nano_cores.value / 1e7:.1f}" if cpu.HasField("usage_nano_cores") else "-"
