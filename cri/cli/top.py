"""crispctl top."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.table import Table

from cri import api
from cri.cli.client import Client
from cri.cli.live import count_option, interval_option, look_again, table
from cri.cli.output import json_option, short, size
from cri.cli.stats import percent

COLUMNS = ("NAME", "ID", "CPU %", "MEMORY", "PROCESSES", "RECEIVED", "SENT", "DISK")


@click.command()
@interval_option
@count_option
@json_option
@click.pass_obj
def top(client: Client, interval: float, count: int | None, as_json: bool) -> None:
    """Show what pods and their containers use, the busiest pod first, until interrupted.

    CPU in percent of one core since the last look, RECEIVED and SENT in bytes per second.
    """
    rates = _Rates()

    def look() -> api.ListPodSandboxStatsResponse:
        found: api.ListPodSandboxStatsResponse = client.call("ListPodSandboxStats", api.ListPodSandboxStatsRequest())
        return found

    def show(found: api.ListPodSandboxStatsResponse) -> Table:
        pods = sorted(found.stats, key=lambda pod: -pod.linux.cpu.usage_nano_cores.value)
        return table(COLUMNS, (row for pod in pods for row in (_pod(pod, rates), *_containers(pod))))

    look_again(look, show, interval, count, as_json=as_json)


def _pod(pod: api.PodSandboxStats, rates: _Rates) -> tuple[str, ...]:
    received, sent = rates.of(pod)
    return (
        f"{pod.attributes.metadata.namespace}/{pod.attributes.metadata.name}",
        short(pod.attributes.id),
        percent(pod.linux.cpu),
        size(pod.linux.memory.working_set_bytes.value),
        str(pod.linux.process.process_count.value),
        received,
        sent,
        "",
    )


def _containers(pod: api.PodSandboxStats) -> Iterator[tuple[str, ...]]:
    for one in sorted(pod.linux.containers, key=lambda one: -one.cpu.usage_nano_cores.value):
        memory, disk = one.memory.working_set_bytes.value, one.writable_layer.used_bytes.value
        name = f"  {one.attributes.metadata.name}"
        yield name, short(one.attributes.id), percent(one.cpu), size(memory), "", "", "", size(disk)


class _Rates:
    """Bytes per second between two looks at a pod's network."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int, int]] = {}

    def of(self, pod: api.PodSandboxStats) -> tuple[str, str]:
        """Received and sent; `-` at the first look."""
        network = pod.linux.network
        now = (network.timestamp, network.default_interface.rx_bytes.value, network.default_interface.tx_bytes.value)
        before = self._last.get(pod.attributes.id)
        self._last[pod.attributes.id] = now
        if before is None or now[0] <= before[0]:
            return "-", "-"
        seconds = (now[0] - before[0]) / 1e9
        received, sent = (size(max(0, now[which] - before[which]) / seconds) for which in (1, 2))
        return received, sent
