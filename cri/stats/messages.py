"""Stats, from what was read to the bytes of CRI's messages.

Fields are set one by one: messages as constructor arguments cost three times as much, and there are twenty in each.
Attributes never change, so they are serialised once; a message is the concatenation of its parts (protobuf encoding
guide, "Last One Wins": embedded messages and fields may come in pieces and any order).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core.cgroups.usage import Pressure, Stall, Usage
from core.files.meter import Measured
from core.network.builtin.links import POD_INTERFACE
from core.network.netns import InterfaceStats
from cri import api
from cri.stats.rates import Reading
from cri.store.container import Container
from cri.store.sandbox import PodSandbox
from cri.store.store import frame

_LINUX = api.PodSandboxStats.DESCRIPTOR.fields_by_name["linux"].number
_CONTAINERS = api.LinuxPodSandboxStats.DESCRIPTOR.fields_by_name["containers"].number


def container_attributes(container: Container) -> bytes:
    """ContainerStats with nothing but attributes."""
    config = container.request()
    attributes = api.ContainerAttributes(
        id=container.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
    )
    return api.ContainerStats(attributes=attributes).SerializeToString()


def pod_attributes(pod: PodSandbox) -> bytes:
    """PodSandboxStats with nothing but attributes."""
    config = pod.request()
    attributes = api.PodSandboxAttributes(
        id=pod.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
    )
    return api.PodSandboxStats(attributes=attributes).SerializeToString()


def container_usage(reading: Reading | None, layer: Measured | None, mountpoint: str) -> bytes:
    """ContainerStats without attributes; without a reading only the writable layer is told."""
    stats = api.ContainerStats()
    if reading is not None:
        _set_cpu(stats.cpu, reading)
        _set_memory(stats.memory, reading.at, reading.usage)
        _set_swap(stats.swap, reading.at, reading.usage)
        if reading.usage.io_pressure:
            stats.io.timestamp = reading.at
            _set_pressure(stats.io.psi, reading.usage.io_pressure)
    if layer is not None:
        writable = stats.writable_layer
        writable.timestamp = layer.at
        writable.fs_id.mountpoint = mountpoint
        writable.used_bytes.value = layer.size
        writable.inodes_used.value = layer.inodes
    return stats.SerializeToString()


def pod_usage(
    now: int,
    reading: Reading | None,
    processes: int,
    interfaces: Mapping[str, InterfaceStats] | None,
    containers: Iterable[bytes],
) -> bytes:
    """PodSandboxStats without attributes; `interfaces` is None for a pod without a network of its own.

    One that has none but `lo`, as each has while it stops, tells no network: the kubelet dies of a network without a
    default interface (1.36, criInterfaceToSummary).
    """
    linux = api.LinuxPodSandboxStats()
    if reading is not None:
        _set_cpu(linux.cpu, reading)
        _set_memory(linux.memory, now, reading.usage)
        linux.process.timestamp = now
        linux.process.process_count.value = processes
        if reading.usage.io_pressure:
            linux.io.timestamp = now
            _set_pressure(linux.io.psi, reading.usage.io_pressure)
    if interfaces and (others := {name: one for name, one in interfaces.items() if name != "lo"}):
        _set_network(linux.network, now, others)
    parts = (linux.SerializeToString(), *(frame(stats, _CONTAINERS) for stats in containers))
    return frame(b"".join(parts), _LINUX)


def _set_cpu(cpu: api.CpuUsage, reading: Reading) -> None:
    cpu.timestamp = reading.at
    cpu.usage_core_nano_seconds.value = reading.usage.cpu
    if reading.cores is not None:
        cpu.usage_nano_cores.value = reading.cores
    if reading.usage.cpu_pressure:
        _set_pressure(cpu.psi, reading.usage.cpu_pressure)


def _set_memory(memory: api.MemoryUsage, now: int, usage: Usage) -> None:
    working_set = usage.working_set
    memory.timestamp = now
    memory.working_set_bytes.value = working_set
    memory.usage_bytes.value = usage.memory
    memory.rss_bytes.value = usage.rss
    memory.page_faults.value = usage.page_faults
    memory.major_page_faults.value = usage.major_page_faults
    if usage.memory_limit is not None:
        memory.available_bytes.value = max(usage.memory_limit - working_set, 0)
    if usage.memory_pressure:
        _set_pressure(memory.psi, usage.memory_pressure)


def _set_swap(swap: api.SwapUsage, now: int, usage: Usage) -> None:
    swap.timestamp = now
    swap.swap_usage_bytes.value = usage.swap
    if usage.swap_limit is not None:
        swap.swap_available_bytes.value = max(usage.swap_limit - usage.swap, 0)


def _set_pressure(psi: api.PsiStats, pressure: Pressure) -> None:
    _set_stall(psi.Some, pressure.some)
    if pressure.full:
        _set_stall(psi.Full, pressure.full)


def _set_stall(data: api.PsiData, stall: Stall) -> None:
    data.Total = stall.total
    data.Avg10 = stall.avg10
    data.Avg60 = stall.avg60
    data.Avg300 = stall.avg300


def _set_network(network: api.NetworkUsage, now: int, interfaces: Mapping[str, InterfaceStats]) -> None:
    """There is at least one; the default one is what the pod's addresses are on."""
    network.timestamp = now
    for name, stats in interfaces.items():
        _set_interface(network.interfaces.add(), name, stats)
    default = POD_INTERFACE if POD_INTERFACE in interfaces else next(iter(interfaces))
    _set_interface(network.default_interface, default, interfaces[default])


def _set_interface(usage: api.NetworkInterfaceUsage, name: str, stats: InterfaceStats) -> None:
    usage.name = name
    usage.rx_bytes.value = stats.rx_bytes
    usage.rx_errors.value = stats.rx_errors
    usage.tx_bytes.value = stats.tx_bytes
    usage.tx_errors.value = stats.tx_errors
