"""All families, and how their samples become the bytes of CRI's messages."""

from __future__ import annotations

from collections.abc import Sequence

from cri import api
from cri.stats.metrics.cpu import CPU, PRESSURE
from cri.stats.metrics.disk import DISK
from cri.stats.metrics.family import BASE_LABELS, Family, Source
from cri.stats.metrics.memory import MEMORY
from cri.stats.metrics.network import NETWORK
from cri.stats.metrics.process import PROCESS
from cri.stats.metrics.spec import SPEC
from cri.store.store import frame

FAMILIES: tuple[Family, ...] = (*CPU, *PRESSURE, *MEMORY, *DISK, *NETWORK, *PROCESS, *SPEC)

_METRICS = api.PodSandboxMetrics.DESCRIPTOR.fields_by_name["metrics"].number
"""The same in ContainerMetrics."""


def descriptors() -> list[api.MetricDescriptor]:
    """What every sample is one of."""
    return [
        api.MetricDescriptor(name=family.name, help=family.help, label_keys=(*BASE_LABELS, *family.labels))
        for family in FAMILIES
    ]


def encode(source: Source, labels: Sequence[str]) -> bytes:
    """All samples of `source` as the field `metrics` of a PodSandboxMetrics or ContainerMetrics; `labels` are the base
    labels' values.

    A metric is the concatenation of three messages: the family's, that of the base labels, and what is its own.
    """
    base = api.Metric(timestamp=source.at, label_values=labels).SerializeToString()
    parts = []
    for family, head in _HEADS:
        for extra, value in family.samples(source):
            own = api.Metric(label_values=extra)
            own.value.value = value
            parts.append(frame(head + base + own.SerializeToString(), _METRICS))
    return b"".join(parts)


_HEADS = [
    (family, api.Metric(name=family.name, metric_type=family.type).SerializeToString()) for family in FAMILIES
]
