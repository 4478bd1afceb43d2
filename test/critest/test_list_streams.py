"""Lists as streams (KEP-5825): the same items as the list, in messages that stay short, of one moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from core.metadata.database import Database
from core.metadata.records import Record
from core.metadata.sqlite_records import SqliteRecords
from core.sandbox.controller import Sandbox
from cri import api
from cri.store.container import Container
from cri.store.sandbox import PodSandbox
from rig.cri_client import CriClient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
MANY = 400
NOTE = "n" * 1500
LONGEST = 300 << 10
"""Bytes of a message; the lists of that many have more."""


@contextmanager
def records_of(base: Path) -> Iterator[SqliteRecords]:
    """The records of a node whose daemon does not run."""
    database = Database(str(base / "root/metadata.db"))
    yield SqliteRecords(database)
    database.close()


def fill(base: Path) -> list[tuple[str, str]]:
    """Record many stopped pods with an exited container each; return their keys."""
    config = api.ContainerConfig(metadata=api.ContainerMetadata(name="main"), annotations={"note": NOTE})
    sandbox = api.PodSandboxConfig(metadata=api.PodSandboxMetadata(name="pod"), annotations={"note": NOTE})
    values: list[PodSandbox | Container] = []
    for name in (f"{number:064x}" for number in range(MANY)):
        pod = PodSandbox(
            id=name,
            name=name,
            config=sandbox.SerializeToString(),
            runtime_handler="",
            created_at=1,
            sandbox=Sandbox(id=name, pid=0, namespaces={}, created_at=1),
            stopped=True,
            labels={},
        )
        container = Container(
            id="c" + name[1:],
            sandbox_id=name,
            name=name,
            config=config.SerializeToString(),
            image_id="sha256:0",
            image_ref="sha256:0",
            log_path="",
            cgroup=f"/none/{name}",
            created_at=1,
            started_at=1,
            finished_at=1,
            labels={},
        )
        values += [pod, container]
    rows = [
        Record(
            kind="sandbox" if isinstance(value, PodSandbox) else "container",
            id=value.id,
            body=msgspec.json.encode(value),
        )
        for value in values
    ]
    with records_of(base) as records:
        records.put(*rows)
    return [(row.kind, row.id) for row in rows]


def joined(stream: Any, field: str) -> list[Any]:
    return [item for message in stream for item in getattr(message, field)]


def test_a_stream_tells_what_the_list_tells_with_the_same_filter(client: CriClient, node: Node, pods: Pods) -> None:
    config = node.container("sleep 1000")
    config.labels["tier"] = "front"
    pod, container = pods.start("", config=config)
    pods.start("sleep 1000")
    for filter_ in (None, api.ContainerFilter(pod_sandbox_id=pod[:13]), api.ContainerFilter(id="none")):
        listed = client.ListContainers(api.ListContainersRequest(filter=filter_)).containers
        streamed = client.StreamContainers(api.StreamContainersRequest(filter=filter_))
        assert joined(streamed, "containers") == list(listed)
    for pod_filter in (None, api.PodSandboxFilter(id=pod[:13])):
        items = client.ListPodSandbox(api.ListPodSandboxRequest(filter=pod_filter)).items
        sandboxes = client.StreamPodSandboxes(api.StreamPodSandboxesRequest(filter=pod_filter))
        assert joined(sandboxes, "pod_sandboxes") == list(items)
    for name in ("", node.image, "127.0.0.1:1/none:1"):
        wanted = api.ImageFilter(image=api.ImageSpec(image=name))
        images = client.ListImages(api.ListImagesRequest(filter=wanted)).images
        assert joined(client.StreamImages(api.StreamImagesRequest(filter=wanted)), "images") == list(images)
    chosen = api.ContainerStatsFilter(label_selector={"tier": "front"})
    (stats,) = joined(client.StreamContainerStats(api.StreamContainerStatsRequest(filter=chosen)), "container_stats")
    assert stats.attributes.id == container
    assert stats.cpu.usage_core_nano_seconds.value > 0
    one = api.StreamPodSandboxStatsRequest(filter=api.PodSandboxStatsFilter(id=pod))
    (pod_stats,) = joined(client.StreamPodSandboxStats(one), "pod_sandbox_stats")
    assert pod_stats.attributes.id == pod
    assert [inner.attributes.id for inner in pod_stats.linux.containers] == [container]
    metrics = joined(client.StreamPodSandboxMetrics(api.StreamPodSandboxMetricsRequest()), "pod_sandbox_metrics")
    listed_metrics = client.ListPodSandboxMetrics(api.ListPodSandboxMetricsRequest()).pod_metrics
    assert [one.pod_sandbox_id for one in metrics] == [one.pod_sandbox_id for one in listed_metrics]
    assert metrics[0].container_metrics[0].metrics


def test_long_lists_come_in_short_messages_in_the_order_of_the_list(client: CriClient, node: Node) -> None:
    node.end(signal.SIGTERM)
    keys = fill(node.base)
    with node.start() as full:
        streams = {
            "containers": full.StreamContainers(api.StreamContainersRequest()),
            "pod_sandboxes": full.StreamPodSandboxes(api.StreamPodSandboxesRequest()),
            "container_stats": full.StreamContainerStats(api.StreamContainerStatsRequest()),
        }
        found = {field: list(stream) for field, stream in streams.items()}
        listed = [one.id for one in full.ListContainers(api.ListContainersRequest()).containers]
    for field, messages in found.items():
        assert len(messages) > 1, field
        assert max(message.ByteSize() for message in messages) <= LONGEST, field
    assert [one.id for message in found["containers"] for one in message.containers] == listed
    assert [one.attributes.id for message in found["container_stats"] for one in message.container_stats] == listed
    assert len(listed) == MANY
    node.end(signal.SIGTERM)
    with records_of(node.base) as records:
        records.delete(*keys)
    node.start().close()
