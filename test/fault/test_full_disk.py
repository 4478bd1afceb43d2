"""Disks that are really full, each of a node's own: what needs space is refused, all else goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from critest.conftest import Pods

from core.linux.mount import mount, umount_all
from cri import api
from rig.cgroups import ensure_cgroups, remove_cgroups
from rig.cri_client import CriClient
from rig.images import build, busybox, files, layer, push
from rig.node import Node, wait_until
from rig.patience import patient
from rig.registry import running_registry

pytestmark = pytest.mark.root

ROOM = 32 << 20
"""Bytes: the image of the tests, unpacked, takes 2 MiB, the metadata's reserve 5."""
BIG = 8 << 20
SLACK = 1 << 20
"""Of metadata and directories."""
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED


def fill(directory: Path, leaving: int = 0) -> Path:
    """Write a file that takes all space but `leaving` bytes; return it."""
    ballast = directory / "ballast"
    space = os.statvfs(directory)
    descriptor = os.open(ballast, os.O_CREAT | os.O_WRONLY)
    try:
        os.posix_fallocate(descriptor, 0, space.f_bavail * space.f_bsize - leaving)
    finally:
        os.close(descriptor)
    return ballast


def free_space(directory: Path) -> int:
    space = os.statvfs(directory)
    return space.f_bavail * space.f_bsize


@pytest.fixture
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """One that fits and one that does not when the disk is half full."""
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        big = build([*busybox().layers, layer(files({"big": os.urandom(BIG)}))], config={"Cmd": ["sh"]})
        yield push(busybox(), registry, "library/busybox", "1.36"), push(big, registry, "test/big", "1")


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small filesystem at the node's directory that the test names: root, run or logs."""
    path = tmp_path / request.param
    path.mkdir()
    mount("tmpfs", str(path), "tmpfs", 0, f"size={ROOM}")
    yield path
    umount_all(str(path))


@pytest.fixture
def small(disk: Path, tmp_path: Path, image: tuple[str, str]) -> Iterator[Node]:
    """A node with the small image on it, one of whose directories is that disk."""
    ensure_cgroups()
    node = Node(tmp_path, image[0])
    with node.start() as client:
        client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=image[0])))
    yield node
    for ballast in disk.glob("ballast"):
        ballast.unlink()
    with CriClient(str(tmp_path / "run/crisp.sock")) as client:
        for pod in client.ListPodSandbox(api.ListPodSandboxRequest()).items:
            client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod.id))
    wait_until(lambda: not set(node.left()) - {str(disk)}, "everything is removed")
    node.end(signal.SIGTERM)
    remove_cgroups(f"/{node.cgroup}")


def connect(node: Node) -> CriClient:
    client = CriClient(str(node.base / "run/crisp.sock"))
    client.wait_ready()
    return client


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(grpc.RpcError, match="free some") as caught:
        call()
    assert caught.value.code() == FULL


@pytest.mark.parametrize("disk", ["root"], indirect=True)
def test_a_pull_that_does_not_fit_says_so_leaves_nothing_and_succeeds_when_there_is_room(
    small: Node, disk: Path, image: tuple[str, str]
) -> None:
    request = api.PullImageRequest(image=api.ImageSpec(image=image[1]))
    with connect(small) as client:
        for leaving in (BIG // 2, BIG + BIG // 2):  # what comes does not fit; nor does what it unpacks to
            before = free_space(disk)
            ballast = fill(disk, leaving)
            refused(lambda: client.PullImage(request))
            ballast.unlink()
            # What has been fetched stays, for the next attempt to go on with.
            wait_until(lambda: free_space(disk) >= before - BIG - SLACK, "the space is free again")  # noqa: B023
        client.PullImage(request)


@pytest.mark.parametrize("disk", ["root", "run"], indirect=True)
def test_on_a_full_disk_the_daemon_starts_lists_stops_and_removes(small: Node, disk: Path) -> None:
    with connect(small) as client:
        pods = Pods(small, client)
        (_, container), (removed, _) = (pods.start("exec sleep 1000") for _ in range(2))
        config = small.pod()
        ballast = fill(disk)
    small.end(signal.SIGKILL)
    with small.start() as client:
        assert len(client.ListContainers(api.ListContainersRequest()).containers) == 2
        probe = api.ExecSyncRequest(container_id=container, cmd=["/bin/echo", "alive"], timeout=int(patient(10)))
        if disk.name == "run":  # where an OCI runtime's input is written
            refused(lambda: client.ExecSync(probe))
            refused(lambda: client.RunPodSandbox(api.RunPodSandboxRequest(config=config)))
        else:
            assert client.ExecSync(probe).stdout == b"alive\n"
        client.StopContainer(api.StopContainerRequest(container_id=container, timeout=0))
        status = client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status
        assert (status.state, status.exit_code) == (api.CONTAINER_EXITED, 137)
        client.RemoveContainer(api.RemoveContainerRequest(container_id=container))
        client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=removed))
        client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=removed))
        ballast.unlink()
        Pods(small, client).start("exec sleep 1000")


@pytest.mark.parametrize("disk", ["logs"], indirect=True)
def test_a_full_log_disk_keeps_no_container_from_writing_and_ending(small: Node, disk: Path) -> None:
    script = f"head -c {4 << 20} /dev/zero; until test -e /tmp/go; do sleep 0.02; done; echo again; exit 7"
    with connect(small) as client:
        pods = Pods(small, client)
        sandbox = small.pod()
        pod = pods.run(sandbox)
        ballast = fill(disk, leaving=1 << 20)
        container = pods.create(pod, sandbox, small.container(script))
        client.StartContainer(api.StartContainerRequest(container_id=container))
        wait_until(lambda: free_space(disk) == 0, "the log has filled the disk")
        ballast.unlink()
        go = api.ExecSyncRequest(container_id=container, cmd=["/bin/touch", "/tmp/go"], timeout=int(patient(10)))
        client.ExecSync(go)

        def status() -> Any:
            return client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status

        wait_until(lambda: status().state == api.CONTAINER_EXITED, "it ends")
        assert status().exit_code == 7
        assert Path(status().log_path).read_text().endswith(" stdout F again\n")
