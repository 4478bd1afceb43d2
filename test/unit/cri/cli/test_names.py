from __future__ import annotations

import pytest
from google.protobuf.message import Message

from cri import api
from cri.cli.names import Ambiguous, Missing, find, find_container, find_pod


class Daemon:
    """Answers the two list calls."""

    def __init__(self) -> None:
        self.pods = [pod("aa11", "web", "default", 1), pod("aa22", "web", "kube-system", 2), pod("bb", "db", "x", 3)]
        self.containers = [
            container("cc11", "main", "aa11", 1), container("cc22", "main", "aa11", 2), container("dd", "db", "aa22", 1)
        ]

    def call(self, rpc: str, _request: Message) -> Message:
        if rpc == "ListContainers":
            return api.ListContainersResponse(containers=self.containers)
        return api.ListPodSandboxResponse(items=self.pods)


def pod(pod_id: str, name: str, namespace: str, created: int) -> api.PodSandbox:
    metadata = api.PodSandboxMetadata(name=name, namespace=namespace)
    return api.PodSandbox(id=pod_id, metadata=metadata, created_at=created)


def container(container_id: str, name: str, pod_id: str, created: int) -> api.Container:
    metadata = api.ContainerMetadata(name=name)
    return api.Container(id=container_id, metadata=metadata, pod_sandbox_id=pod_id, created_at=created)


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


def test_a_whole_id_wins_over_the_start_of_another(daemon: Daemon) -> None:
    daemon.containers.append(container("cc", "x", "aa11", 1))
    assert find_container(daemon, "cc").id == "cc"
    assert find_container(daemon, "cc1").id == "cc11"


def test_the_start_of_an_id_that_several_have_is_ambiguous(daemon: Daemon) -> None:
    with pytest.raises(Ambiguous, match="aa11, aa22"):
        find_pod(daemon, "aa")


def test_of_a_containers_attempts_the_newest_is_meant(daemon: Daemon) -> None:
    assert find_container(daemon, "main").id == "cc22"


def test_a_pods_name_can_need_its_namespace(daemon: Daemon) -> None:
    with pytest.raises(Ambiguous):
        find_pod(daemon, "web")
    assert find_pod(daemon, "kube-system/web").id == "aa22"


def test_a_pods_name_wins_over_a_containers(daemon: Daemon) -> None:
    assert find(daemon, "db").id == "bb"
    assert find(daemon, "dd").id == "dd"


@pytest.mark.parametrize("reference", ["", "none", "\x1b[0m"])
def test_what_is_not_there_is_named(daemon: Daemon, reference: str) -> None:
    with pytest.raises(Missing) as caught:
        find_container(daemon, reference)
    assert "\x1b" not in caught.value.message
