"""Traffic of a pod."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from core.network.netns import InterfaceStats
from cri.stats.metrics.family import COUNTER, Family, Sample, Source


def _of_interface(name: str, help_: str, value: Callable[[InterfaceStats], int]) -> Family:
    def samples(source: Source) -> Iterable[Sample]:
        interfaces = source.interfaces or {}
        return [((interface,), value(stats)) for interface, stats in interfaces.items() if interface != "lo"]

    name = f"container_network_{name}_total"
    return Family(name=name, help=help_, type=COUNTER, labels=("interface",), samples=samples)


NETWORK = [
    _of_interface("receive_bytes", "Bytes received.", lambda stats: stats.rx_bytes),
    _of_interface("receive_packets", "Packets received.", lambda stats: stats.rx_packets),
    _of_interface("receive_packets_dropped", "Packets dropped while receiving.", lambda stats: stats.rx_dropped),
    _of_interface("receive_errors", "Errors while receiving.", lambda stats: stats.rx_errors),
    _of_interface("transmit_bytes", "Bytes sent.", lambda stats: stats.tx_bytes),
    _of_interface("transmit_packets", "Packets sent.", lambda stats: stats.tx_packets),
    _of_interface("transmit_packets_dropped", "Packets dropped while sending.", lambda stats: stats.tx_dropped),
    _of_interface("transmit_errors", "Errors while sending.", lambda stats: stats.tx_errors),
]
