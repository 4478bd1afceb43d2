"""GetContainerEvents: what an evented kubelet sees of the life of pods."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cri import api
from rig.cri_client import CriClient
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
CREATED, STARTED = api.CONTAINER_CREATED_EVENT, api.CONTAINER_STARTED_EVENT
STOPPED, DELETED = api.CONTAINER_STOPPED_EVENT, api.CONTAINER_DELETED_EVENT


@contextlib.contextmanager
def reading(client: CriClient) -> Iterator[Any]:
    """A stream that is there when the block begins."""
    stream = client.GetContainerEvents(api.GetEventsRequest(), timeout=patient(60))
    stream.initial_metadata()
    yield stream
    stream.cancel()


def until_deleted(stream: Any, id_: str) -> list[Any]:
    events = []
    for event in stream:
        events.append(event)
        if (event.container_id, event.container_event_type) == (id_, DELETED):
            return events
    raise AssertionError("the stream ended")


def test_each_change_of_a_pod_is_told_in_order_with_the_status_of_the_pod_after_it(
    client: CriClient, pods: Pods
) -> None:
    with reading(client) as stream, reading(client) as other:
        pod, container = pods.start("sleep 1000")
        client.StopContainer(api.StopContainerRequest(container_id=container))
        client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
        client.RemoveContainer(api.RemoveContainerRequest(container_id=container))
        client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
        events = until_deleted(stream, pod)
        assert [one.SerializeToString() for one in until_deleted(other, pod)] == [
            one.SerializeToString() for one in events
        ]
    assert [(event.container_id, event.container_event_type) for event in events] == [
        (pod, CREATED),
        (pod, STARTED),
        (container, CREATED),
        (container, STARTED),
        (container, STOPPED),
        (pod, STOPPED),
        (container, DELETED),
        (pod, DELETED),
    ]
    pods_told = [event.pod_sandbox_status for event in events]
    assert all(told.id == pod for told in pods_told)
    assert all(bool(told.network.ip) == (told.state == api.SANDBOX_READY) for told in pods_told)
    assert [event.pod_sandbox_status.state for event in events] == [api.SANDBOX_READY] * 5 + [api.SANDBOX_NOTREADY] * 3
    states = [[one.state for one in event.containers_statuses] for event in events]
    gone, created, running, exited = [], [api.CONTAINER_CREATED], [api.CONTAINER_RUNNING], [api.CONTAINER_EXITED]
    assert states == [gone, gone, created, running, exited, exited, gone, gone]
    stamps = [event.created_at for event in events]
    assert stamps == sorted(stamps)
    assert events[4].containers_statuses[0].exit_code == 137


def test_an_exit_that_nobody_asked_for_is_told(client: CriClient, pods: Pods) -> None:
    with reading(client) as stream:
        _, container = pods.start("exit 3")
        stopped = next(event for event in stream if event.container_event_type == STOPPED)
    assert stopped.container_id == container
    assert stopped.containers_statuses[0].exit_code == 3


def test_a_status_holds_the_pod_and_its_containers_at_one_moment(client: CriClient, pods: Pods) -> None:
    pod, container = pods.start("sleep 1000")
    request = api.PodSandboxStatusRequest(pod_sandbox_id=pod)
    first, second = client.PodSandboxStatus(request), client.PodSandboxStatus(request)
    one = client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status
    assert list(first.containers_statuses) == [one]
    assert one.started_at < first.timestamp < second.timestamp


def test_a_reader_that_does_not_read_delays_nobody_and_is_told_that_it_missed_events(
    client: CriClient, node: Node, pods: Pods
) -> None:
    sandbox = node.pod()
    sandbox.annotations["bulk"] = "x" * (1 << 20)  # of each event, so that few of them fill a reader's queue
    with reading(client) as stream:
        pod = pods.run(sandbox)
        for attempt in range(8):
            config = node.container("true", name=f"main{attempt}")
            container = pods.create(pod, sandbox, config)
            client.RemoveContainer(api.RemoveContainerRequest(container_id=container))
        with pytest.raises(grpc.RpcError, match="list") as caught:
            for _ in stream:
                pass
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_daemon_that_ends_ends_its_streams_and_does_not_wait_for_them(client: CriClient, node: Node) -> None:
    with reading(client) as stream:
        asked = monotonic()
        node.end(signal.SIGTERM)
        assert monotonic() - asked < 5  # half of what calls under way are granted
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
