"""The metrics that take cAdvisor's place."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from cri import api
from rig.cgroups import existing
from rig.cri_client import CriClient
from rig.node import wait_until
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
MIB = 1 << 20

ALWAYS = [
    "cpu_usage_seconds_total", "cpu_user_seconds_total", "cpu_system_seconds_total", "cpu_cfs_periods_total",
    "cpu_cfs_throttled_periods_total", "cpu_cfs_throttled_seconds_total", "memory_cache", "memory_failcnt",
    "memory_failures_total", "memory_kernel_usage", "memory_mapped_file", "memory_max_usage_bytes", "memory_rss",
    "memory_swap", "memory_usage_bytes", "memory_working_set_bytes", "memory_total_active_file_bytes",
    "memory_total_inactive_file_bytes", "oom_events_total", "fs_inodes_free", "fs_inodes_total", "fs_limit_bytes",
    "fs_usage_bytes", "processes", "file_descriptors", "sockets", "threads", "threads_max", "ulimits_soft",
    "last_seen", "start_time_seconds", "spec_cpu_period", "spec_cpu_quota", "spec_cpu_shares",
    "spec_memory_limit_bytes", "spec_memory_reservation_limit_bytes", "spec_memory_swap_limit_bytes",
]
NETWORK = [
    f"network_{way}_{what}_total"
    for way in ("receive", "transmit")
    for what in ("bytes", "packets", "packets_dropped", "errors")
]
IO = ["blkio_device_usage_total", "fs_reads_bytes_total", "fs_reads_total", "fs_writes_bytes_total", "fs_writes_total"]
PRESSURE = [
    f"pressure_{what}_{kind}_seconds_total" for what in ("cpu", "memory", "io") for kind in ("waiting", "stalled")
]
HUGE = ["hugetlb_usage_bytes", "hugetlb_max_usage_bytes"]

Series = dict[str, dict[tuple[str, ...], int]]


def series_of(metrics: Any) -> Series:
    """Values by name, without the common prefix, and labels."""
    found: Series = defaultdict(dict)
    for metric in metrics:
        labels = tuple(metric.label_values)
        assert labels not in found[metric.name], f"{metric.name} {labels} is there twice"
        found[metric.name.removeprefix("container_")][labels] = metric.value.value
    return found


def metrics_of(client: CriClient, pod: str) -> Any:
    reply = client.ListPodSandboxMetrics(api.ListPodSandboxMetricsRequest())
    return next((one for one in reply.pod_metrics if one.pod_sandbox_id == pod), None)


def only(values: dict[tuple[str, ...], int]) -> int:
    (value,) = values.values()
    return value


def limited(node: Node, script: str) -> api.ContainerConfig:
    config = node.container(script)
    resources = config.linux.resources
    resources.cpu_shares, resources.cpu_quota, resources.cpu_period = 512, 20_000, 100_000
    resources.memory_limit_in_bytes = 64 * MIB
    return config


def test_a_container_has_all_of_cadvisors_metrics_with_the_labels_of_their_descriptors(
    client: CriClient, node: Node, pods: Pods
) -> None:
    script = "dd if=/dev/zero of=/data bs=1M count=3 2>/dev/null; touch /b; sleep 1000 & exec nc -l -p 80"
    pod, container = pods.start("", config=limited(node, script))
    wait_until(lambda: any(node.base.glob("root/snapshots/*/fs/b")), "the container has written its files")
    wait_until(lambda: sockets_of(client, pod) == 1, "the container listens")
    found = metrics_of(client, pod)
    (inner,) = found.container_metrics
    assert inner.container_id == container
    series = series_of(inner.metrics)
    assert set(ALWAYS) - set(series) == set()
    groups = existing(f"/{node.cgroup}")
    if any((place / "cpu.pressure").exists() for place in groups):
        assert set(PRESSURE) <= set(series)
    huge = {file.name.rpartition(".")[2] for place in groups for file in place.glob("hugetlb.*")}
    if huge:  # of which version 2 keeps no peak
        assert set(HUGE) & set(series) == set(HUGE if "usage_in_bytes" in huge else HUGE[:1])
    described = descriptors(client)
    keys = {one.name: list(one.label_keys) for one in described}
    assert {name.removeprefix("container_") for name in keys} == {*ALWAYS, *NETWORK, *IO, *PRESSURE, *HUGE}
    assert len(keys) == len(described)
    assert all(one.help for one in described)
    for metric in (*inner.metrics, *found.metrics):
        assert len(metric.label_values) == len(keys[metric.name]), metric.name
    labels = dict(zip(keys["container_memory_rss"], next(iter(series["memory_rss"])), strict=True))
    assert (labels["container"], labels["pod"], labels["namespace"]) == ("main", "pod", "test")
    assert (labels["name"], labels["image"]) == (container, node.image)
    assert labels["id"].startswith(f"/{node.cgroup}/")
    assert (only(series["processes"]), only(series["threads"])) == (2, 2)
    assert only(series["file_descriptors"]) >= 7
    assert only(series["spec_cpu_shares"]) in range(500, 525)  # v2 keeps it as a weight
    assert (only(series["spec_cpu_quota"]), only(series["spec_cpu_period"])) == (20_000, 100_000)
    assert only(series["spec_memory_limit_bytes"]) == 64 * MIB
    assert 0 < only(series["memory_rss"]) <= only(series["memory_usage_bytes"]) <= only(
        series["memory_max_usage_bytes"]
    ) <= 64 * MIB
    assert 3 * MIB <= only(series["fs_usage_bytes"]) < 4 * MIB
    assert only(series["fs_inodes_total"]) == os.statvfs(node.base).f_files
    assert only(series["ulimits_soft"]) > 0
    assert only(series["last_seen"]) >= only(series["start_time_seconds"]) > 1_600_000_000
    assert {labels[-2:] for labels in series["memory_failures_total"]} == {
        (kind, scope) for kind in ("pgfault", "pgmajfault") for scope in ("container", "hierarchy")
    }


def descriptors(client: CriClient) -> Any:
    return client.ListMetricDescriptors(api.ListMetricDescriptorsRequest()).descriptors


def sockets_of(client: CriClient, pod: str) -> int:
    inner = metrics_of(client, pod).container_metrics
    return only(series_of(inner[0].metrics)["sockets"]) if inner and inner[0].metrics else 0


def test_a_ready_pod_has_its_network_and_its_control_group(client: CriClient, node: Node, pods: Pods) -> None:
    pod, container = pods.start("sleep 1000")
    ping = ["/bin/ping", "-c", "2", "-i", "0.1", "10.90.0.1"]
    client.ExecSync(api.ExecSyncRequest(container_id=container, cmd=ping, timeout=int(patient(10))))
    series = series_of(metrics_of(client, pod).metrics)
    assert set(NETWORK) <= set(series)
    for name in NETWORK:
        assert {labels[-1] for labels in series[name]} == {"eth0"}
    assert only(series["network_transmit_packets_total"]) >= 2
    assert only(series["memory_usage_bytes"]) > 0
    (labels,) = series["memory_usage_bytes"]
    assert labels == (f"/{node.cgroup}", pod, "", "", "pod", "test")
    client.StopContainer(api.StopContainerRequest(container_id=container))
    assert not metrics_of(client, pod).container_metrics
    client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    assert metrics_of(client, pod) is None


def test_what_the_kernel_counted_is_told(client: CriClient, node: Node, pods: Pods) -> None:
    """A killed process, throttling and time."""
    script = "(head -c 200000000 /dev/zero | tail -c 190000000 >/dev/null); while true; do :; done"
    pod, _ = pods.start("", config=limited(node, script))

    def counted(name: str) -> int:
        inner = metrics_of(client, pod).container_metrics
        return sum(series_of(inner[0].metrics)[name].values()) if inner else 0

    wait_until(lambda: counted("oom_events_total") > 0, "a process was killed for lack of memory", 60)
    wait_until(lambda: counted("cpu_cfs_throttled_periods_total") > 0, "the quota was used up")
    assert counted("cpu_cfs_periods_total") >= counted("cpu_cfs_throttled_periods_total")
    wait_until(lambda: counted("cpu_usage_seconds_total") >= 1, "a second was used", 60)
