"""What the daemon counts and times, as Prometheus reads it. Imported only where [metrics] has an address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from core.telemetry import Telemetry
from cri.telemetry.open import Present

CALLS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Seconds: from a list that is ready to the kubelet's longest deadline."""
LOGGED = {
    "bytes": "Bytes written into containers' logs",
    "lines": "Entries written into containers' logs",
    "split": "Entries in containers' logs that are not the end of a line",
    "dropped_bytes": "Bytes that could not be written into containers' logs",
}
MAX_HOSTS = 32  # told apart: a pod's author chooses the registry, and each host is a series for ever
TRANSFERS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class PrometheusTelemetry:
    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._calls = Histogram(
            "crisp_cri_call_seconds", "CRI calls.", ("method", "code"), buckets=CALLS, registry=registry
        )
        self._pulls = Histogram(
            "crisp_pull_seconds", "Pulls of images.", ("outcome",), buckets=TRANSFERS, registry=registry
        )
        self._fetched = Counter("crisp_fetched_bytes", "Bytes of blobs from registries.", ("host",), registry=registry)
        self._hosts: set[str] = set()
        self._cni = Histogram(
            "crisp_cni_seconds",
            "Calls of CNI plugins.",
            ("plugin", "command", "outcome"),
            buckets=CALLS,
            registry=registry,
        )
        self._collections = Histogram(
            "crisp_collection_seconds",
            "Removals of what no image needs.",
            ("outcome",),
            buckets=TRANSFERS,
            registry=registry,
        )

    def watch(self, present: Present) -> None:
        """Tell what is `present`, too, from now on."""
        self._registry.register(_Present(present))

    def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)

    def cri_call(self, method: str, code: str, seconds: float) -> None:
        self._calls.labels(method, code).observe(seconds)

    def pull(self, outcome: str, seconds: float) -> None:
        self._pulls.labels(outcome).observe(seconds)

    def fetched(self, host: str, size: int) -> None:
        if len(self._hosts) < MAX_HOSTS:
            self._hosts.add(host)
        self._fetched.labels(host if host in self._hosts else "other").inc(size)

    def cni(self, plugin: str, command: str, outcome: str, seconds: float) -> None:
        self._cni.labels(plugin, command, outcome).observe(seconds)

    def collected(self, outcome: str, seconds: float) -> None:
        self._collections.labels(outcome).observe(seconds)


_fits: type[Telemetry] = PrometheusTelemetry


class _Present(Collector):
    def __init__(self, present: Present) -> None:
        self._present = present

    def collect(self) -> Iterable[Metric]:
        for name, (help_, value) in self._present.gauges.items():
            yield GaugeMetricFamily(name, help_, value=value())
        for what, count in self._present.logged().items():
            yield CounterMetricFamily(f"crisp_log_{what}", f"{LOGGED[what]}.", value=count)
        problems = dict.fromkeys(self._present.problems(), 1)
        yield _labelled("crisp_problem", "Parts that keep pods from running now.", "part", problems)
        yield _labelled("crisp_queue", "What waits, or is under way.", "queue", self._present.queues())
        yield from self._pulling()

    def _pulling(self) -> Iterable[Metric]:
        """Of running pulls, added up: a digest for a label would be a new series with each layer."""
        names = (
            ("layers", "Layers of running pulls."),
            ("bytes", "Compressed bytes of their layers that are here."),
            ("size_bytes", "Compressed bytes of their layers."),
        )
        families = [
            GaugeMetricFamily(f"crisp_pulling_{name}", help_, labels=("phase", "host")) for name, help_ in names
        ]
        for (phase, host), values in self._present.pulling().items():
            for family, value in zip(families, values):
                family.add_metric((phase, host), value)
        return families


def _labelled(name: str, help_: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
