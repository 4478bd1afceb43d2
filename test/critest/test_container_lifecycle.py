"""A container from its start to its last state, whoever calls at the same time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cri import api
from rig.cri_calls import refused, run, status, wait_exited, written
from rig.cri_client import CriClient
from rig.node import wait_until
from rig.processes import halt_shim, resume_shim

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
CREATED, RUNNING, EXITED, _ = api.ContainerState.values()
DEAF = "trap 'echo got' TERM; echo up; while :; do sleep 0.05; done"


def limited(node: Node, script: str) -> api.ContainerConfig:
    config = node.container(script)
    config.linux.resources.memory_limit_in_bytes = 8 << 20
    config.linux.security_context.namespace_options.pid = api.NamespaceMode.CONTAINER
    return config


def start(client: CriClient, container: str) -> None:
    client.StartContainer(api.StartContainerRequest(container_id=container))


def stop(client: CriClient, container: str, timeout: int) -> None:
    client.StopContainer(api.StopContainerRequest(container_id=container, timeout=timeout))


def remove(client: CriClient, container: str) -> None:
    client.RemoveContainer(api.RemoveContainerRequest(container_id=container))


def oom_in_parallel(client: CriClient, node: Node, pods: Pods, rounds: int) -> list[tuple[str, int]]:
    """How containers of 8 pods end, each started `rounds` times, that take more memory than they may."""

    def end(_: int) -> list[tuple[str, int]]:
        found = []
        for _ in range(rounds):
            pod, container = pods.start("", config=limited(node, "exec tail /dev/zero"))
            ended = wait_exited(client, container)
            found.append((ended.reason, ended.exit_code))
            client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
        return found

    with ThreadPoolExecutor(8) as threads:
        return [one for ends in threads.map(end, range(8)) for one in ends]


def test_who_takes_too_much_memory_is_oom_killed(client: CriClient, node: Node, pods: Pods) -> None:
    assert set(oom_in_parallel(client, node, pods, rounds=1)) == {("OOMKilled", 137)}


@pytest.mark.slow
def test_who_takes_too_much_memory_is_oom_killed_every_time(client: CriClient, node: Node, pods: Pods) -> None:
    assert set(oom_in_parallel(client, node, pods, rounds=10)) == {("OOMKilled", 137)}


def test_a_container_that_outlives_an_oom_kill_ends_as_it_ends(client: CriClient, node: Node, pods: Pods) -> None:
    _, container = pods.start("", config=limited(node, "tail /dev/zero; exit 3"))
    ended = wait_exited(client, container)
    assert (ended.reason, ended.exit_code) == ("Error", 3)
    _, container = pods.start("", config=limited(node, f"tail /dev/zero; {DEAF}"))
    wait_until(lambda: "up" in written(client, container), "the child was killed")
    stop(client, container, 0)
    ended = status(client, container)
    assert (ended.reason, ended.exit_code) == ("Error", 137)


def test_an_end_is_never_before_its_start(client: CriClient, node: Node, pods: Pods) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)
    for number in range(5):
        container = pods.create(pod, sandbox, node.container("exit 0", f"short{number}"))
        start(client, container)
        ended = wait_exited(client, container)
        assert (ended.reason, ended.exit_code) == ("Completed", 0)
        assert 0 < ended.created_at <= ended.started_at <= ended.finished_at <= time.time_ns()


def test_of_two_stops_the_shorter_one_counts_and_the_signal_comes_once(
    client: CriClient, node: Node, pods: Pods
) -> None:
    _, container = pods.start(DEAF)
    wait_until(lambda: written(client, container) == ["up"], "the trap is set")
    began = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        long = threads.submit(stop, client, container, 100)
        wait_until(lambda: "got" in written(client, container), "the signal came")
        stop(client, container, 1)
        long.result()
    assert time.monotonic() - began < 20
    assert written(client, container) == ["up", "got"]
    assert status(client, container).exit_code == 137


def test_a_stop_that_its_caller_gives_up_kills_nobody(client: CriClient, node: Node, pods: Pods) -> None:
    _, container = pods.start(DEAF)
    wait_until(lambda: written(client, container) == ["up"], "the trap is set")
    waiting = client.StopContainer.future(api.StopContainerRequest(container_id=container, timeout=100))
    wait_until(lambda: "got" in written(client, container), "the signal came")
    waiting.cancel()
    assert run(client, container, "echo alive") == "alive\n"
    assert status(client, container).state == RUNNING


def test_a_start_that_its_caller_gives_up_goes_to_its_end(client: CriClient, node: Node, pods: Pods) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)
    container = pods.create(pod, sandbox, node.container("echo up; sleep 1000"))
    halt_shim(pod)
    with pytest.raises(grpc.RpcError, match="'shim Create'") as caught:
        client.StartContainer(api.StartContainerRequest(container_id=container), timeout=2)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    resume_shim(pod)
    wait_until(lambda: written(client, container) == ["up"], "it runs")
    assert run(client, container, "echo alive") == "alive\n"


def test_a_container_is_removed_in_any_state_and_its_name_is_free(client: CriClient, node: Node, pods: Pods) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)

    def created(script: str) -> str:
        return pods.create(pod, sandbox, node.container(script))

    def running() -> str:
        container = created(DEAF)
        start(client, container)
        return container

    def failed() -> str:
        config = node.container("")
        config.command[:] = ["/none"]
        container = pods.create(pod, sandbox, config)
        refused(client.StartContainer, api.StartContainerRequest(container_id=container))
        return container

    def exited() -> str:
        container = created("true")
        start(client, container)
        wait_exited(client, container)
        return container

    for make in (lambda: created("true"), running, failed, exited, lambda: created("true")):
        container = make()
        request: Any = api.CreateContainerRequest(
            pod_sandbox_id=pod, config=node.container("another"), sandbox_config=sandbox
        )
        assert refused(client.CreateContainer, request)[0] == grpc.StatusCode.ALREADY_EXISTS
        remove(client, container)
        remove(client, container)
        assert refused(client.ContainerStatus, api.ContainerStatusRequest(container_id=container))[0] == (
            grpc.StatusCode.NOT_FOUND
        )
        assert not list(node.base.glob("run/containers/*"))


def test_a_container_starts_though_its_image_is_gone(client: CriClient, node: Node, pods: Pods) -> None:
    sandbox = node.pod()
    container = pods.create(pods.run(sandbox), sandbox, node.container("echo ran"))
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=node.image)))
    assert not client.ListImages(api.ListImagesRequest()).images
    start(client, container)
    assert wait_exited(client, container).exit_code == 0
    assert written(client, container) == ["ran"]
    listed = client.ListContainers(api.ListContainersRequest()).containers
    assert [one.image_id for one in listed] == [status(client, container).image_id]
