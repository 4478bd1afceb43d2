"""A family of metrics: a name, its labels, and how its samples follow from what was read of a container or pod.

Names, labels and meanings are cAdvisor's (docs/storage/prometheus.md there), whose place these metrics take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from core.cgroups.details import Details
from core.network.netns import InterfaceStats
from cri import api

BASE_LABELS = ("id", "name", "image", "container", "pod", "namespace")
"""What every series of the kubelet's cAdvisor is told apart by; dashboards and alerts select by them. `id` is the
control group; `container` and `image` are empty for the pod as a whole."""

SECOND = 1_000_000_000
COUNTER, GAUGE = api.MetricType.COUNTER, api.MetricType.GAUGE

Sample = tuple[tuple[str, ...], int]
"""Values of the labels beyond the base ones, and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Of a container."""

    count: int
    open_files: int
    sockets: int
    open_files_limit: int | None
    """The first process's soft limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A writable layer and its filesystem, in bytes and inodes."""

    device: str
    used: int | None
    """None before it was counted."""
    size: int
    inodes: int
    free_inodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What was read of a container, or of a pod as a whole."""

    at: int
    """Nanoseconds since the epoch, as all times here."""
    started_at: int
    details: Details | None = None
    """None for a pod without a control group of its own."""
    processes: Processes | None = None
    disk: Disk | None = None
    interfaces: Mapping[str, InterfaceStats] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    name: str
    help: str
    type: api.MetricType
    labels: tuple[str, ...] = ()
    """Beyond the base ones."""
    samples: Callable[[Source], Iterable[Sample]]


def of_group(
    name: str, help_: str, type_: api.MetricType, value: Callable[[Details], int | None]
) -> Family:
    """One sample of each control group, none where `value` knows none."""

    def samples(source: Source) -> Iterable[Sample]:
        found = value(source.details) if source.details else None
        return () if found is None else (((), found),)

    return Family(name=name, help=help_, type=type_, samples=samples)
