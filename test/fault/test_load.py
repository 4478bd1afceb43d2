"""Crowds: far more callers at once than a node ever has. All are answered, and nothing of them stays."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from cri import api
from rig.cri_client import CriClient
from rig.load import Users
from rig.node import Node, wait_until
from rig.patience import patient
from rig.processes import shim_of, workers_of

if TYPE_CHECKING:
    from critest.conftest import Pods

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]

CALLS, EXECS, STOPS, ATTACHES = 5000, 500, 150, 1000
DEADLINE = 300
"""Seconds for one of a crowd."""
LATE = 3
"""Descriptors that come later than the first count: the client's connection and its like."""


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.fixture
def running(client: CriClient, node: Node, pods: Pods) -> Iterator[tuple[str, str]]:
    """A pod with a container; what its shim and the daemon have open before the crowd they have behind it."""
    pod, container = pods.start("trap '' TERM; while :; do echo line; sleep 0.05; done")
    client.ExecSync(api.ExecSyncRequest(container_id=container, cmd=["/bin/true"], timeout=10))
    assert node.process
    daemon = node.process.pid

    def open_now() -> tuple[int, int]:
        return open_files(daemon), sum(map(open_files, (shim_of(pod), *workers_of(pod))))

    before = open_now()
    yield pod, container

    def settled() -> bool:
        return all(now <= count + LATE for now, count in zip(open_now(), before))

    wait_until(settled, f"no descriptor of the crowd stays open: there were {before}")
    assert {threads(pid) for pid in (shim_of(pod), *workers_of(pod))} == {1}


def test_five_thousand_calls_at_once_are_all_answered(client: CriClient, running: tuple[str, str]) -> None:
    _, container = running
    request = api.ContainerStatusRequest(container_id=container)
    calls = [client.ContainerStatus.future(request, timeout=DEADLINE) for _ in range(CALLS)]
    assert {call.result().status.state for call in calls} == {api.CONTAINER_RUNNING}


def test_five_hundred_execs_end_with_the_container_that_they_are_in(
    client: CriClient, running: tuple[str, str]
) -> None:
    _, container = running
    request = api.ExecSyncRequest(container_id=container, cmd=["/bin/sleep", "1000"], timeout=DEADLINE)
    calls = [client.ExecSync.future(request, timeout=DEADLINE) for _ in range(EXECS)]
    look = api.ExecSyncRequest(container_id=container, cmd=["/bin/pidof", "sleep"], timeout=DEADLINE)
    wait_until(lambda: len(client.ExecSync(look).stdout.split()) > EXECS // 10, "execs run", 120)
    client.StopContainer(api.StopContainerRequest(container_id=container, timeout=0))
    for call in calls:
        error = call.exception()
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION if error else call.result().exit_code == 137
    status = client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status
    assert (status.state, status.exit_code) == (api.CONTAINER_EXITED, 137)


def test_of_many_stops_at_once_the_most_impatient_wins(client: CriClient, running: tuple[str, str]) -> None:
    _, container = running
    begun = time.monotonic()
    calls = [
        client.StopContainer.future(api.StopContainerRequest(container_id=container, timeout=timeout), timeout=DEADLINE)
        for timeout in range(STOPS, 0, -1)
    ]
    assert [call.exception() for call in calls] == [None] * STOPS
    assert time.monotonic() - begun < patient(20)
    status = client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status
    assert status.exit_code == 128 + signal.SIGKILL


def test_a_thousand_attaches_that_are_cut_leave_nothing(
    client: CriClient, node: Node, running: tuple[str, str]
) -> None:
    users = Users(node, client, [running[1]], "")
    with ThreadPoolExecutor(8) as many:
        list(many.map(lambda _: users.cut_attach(), range(ATTACHES)))
