"""What of the node a container sees, and how mounts travel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from core.linux.mount import MS_BIND, MS_PRIVATE, MS_SHARED, mount, umount_all
from cri import api
from rig.cri_calls import refused, run, status
from rig.cri_client import CriClient
from rig.node import wait_until
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
BOTH_WAYS = api.MountPropagation.PROPAGATION_BIDIRECTIONAL
TO_CONTAINER = api.MountPropagation.PROPAGATION_HOST_TO_CONTAINER


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A directory on a shared mount, gone with all that was mounted below it."""
    path = tmp_path / "shared"
    path.mkdir()
    mount(str(path), str(path), "", MS_BIND)
    mount("", str(path), "", MS_SHARED)
    yield path
    umount_all(str(path))


def with_mounts(node: Node, *mounts: api.Mount, privileged: bool = False) -> api.ContainerConfig:
    config = node.container("sleep 1000")
    config.mounts.extend(mounts)
    config.linux.security_context.privileged = privileged
    return config


def create(pods: Pods, client: CriClient, node: Node, config: api.ContainerConfig) -> tuple[Any, Any]:
    """A request that must be refused: code and message."""
    sandbox = node.pod()
    request = api.CreateContainerRequest(pod_sandbox_id=pods.run(sandbox), config=config, sandbox_config=sandbox)
    return refused(client.CreateContainer, request)


def test_links_are_followed_and_the_status_says_what_was_asked(
    client: CriClient, node: Node, pods: Pods, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("through a link\n")
    (tmp_path / "link").symlink_to("data")
    asked = [
        api.Mount(host_path=str(tmp_path / "link"), container_path="/data", readonly=True),
        api.Mount(host_path=str(tmp_path / "link/file"), container_path="/one", mount_options=["noexec"]),
    ]
    _, container = pods.start("", config=with_mounts(node, *asked))
    seen = run(client, container, "cat /data/file /one; touch /data/x; grep ' /one ' /proc/mounts")
    assert seen.splitlines()[:2] == ["through a link"] * 2
    assert "Read-only file system" in seen
    assert "noexec" in seen.splitlines()[-1]
    assert list(status(client, container).mounts) == asked


def test_what_is_mounted_below_is_read_only_where_that_is_asked_and_the_runtime_can(
    client: CriClient, node: Node, pods: Pods, shared: Path
) -> None:
    (shared / "below").mkdir()
    mount("below", str(shared / "below"), "tmpfs", 0, "size=64k")
    asked = [
        api.Mount(host_path=str(shared), container_path=place, readonly=True, recursive_read_only=place == "/whole")
        for place in ("/plain", "/whole")
    ]
    _, container = pods.start("", config=with_mounts(node, *asked))
    script = "for at in /plain /plain/below /whole /whole/below; do touch $at/x && echo $at; done"
    writable = [line for line in run(client, container, script).splitlines() if not line.startswith("touch")]
    log = node.base / "crispd.log"
    wait_until(lambda: "runtime binary=/usr/bin/crun" in log.read_text(), "the runtime has shown what it can")
    handlers = client.Status(api.StatusRequest()).runtime_handlers
    holds = next(one.features.recursive_read_only_mounts for one in handlers if one.name == "")
    assert writable == ["/plain/below", *([] if holds else ["/whole/below"])]


def test_a_missing_host_path_becomes_a_directory_and_a_file_in_the_way_is_an_error(
    client: CriClient, node: Node, pods: Pods, tmp_path: Path
) -> None:
    missing = tmp_path / "made/by/us"
    _, container = pods.start("", config=with_mounts(node, api.Mount(host_path=str(missing), container_path="/d")))
    assert run(client, container, "touch /d/x && ls /d") == "x\n"
    assert missing.stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").touch()
    below_a_file = api.Mount(host_path=str(tmp_path / "file/below"), container_path="/d")
    code, message = create(pods, client, node, with_mounts(node, below_a_file))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "/d" in message


def test_what_the_node_mounts_later_appears_where_that_was_asked_for(
    client: CriClient, node: Node, pods: Pods, shared: Path
) -> None:
    (shared / "sub").mkdir()
    asked = api.Mount(host_path=str(shared), container_path="/slave", propagation=TO_CONTAINER)
    alone = api.Mount(host_path=str(shared), container_path="/private")
    _, container = pods.start("", config=with_mounts(node, asked, alone))
    mount("tmpfs", str(shared / "sub"), "tmpfs")
    (shared / "sub/new").touch()
    assert run(client, container, "ls /slave/sub; echo -; ls /private/sub") == "new\n-\n"


def test_what_a_container_mounts_reaches_the_node_where_that_was_asked_for(
    client: CriClient, node: Node, pods: Pods, shared: Path
) -> None:
    sandbox = node.pod()
    sandbox.linux.security_context.privileged = True
    asked = api.Mount(host_path=str(shared), container_path="/both", propagation=BOTH_WAYS)
    container = pods.create(pods.run(sandbox), sandbox, with_mounts(node, asked, privileged=True))
    client.StartContainer(api.StartContainerRequest(container_id=container))
    assert run(client, container, "mkdir /both/inner && mount -t tmpfs tmpfs /both/inner && touch /both/inner/up") == ""
    assert (shared / "inner/up").exists()


def test_propagation_from_a_mount_that_has_none_is_refused(
    client: CriClient, node: Node, pods: Pods, tmp_path: Path
) -> None:
    private = tmp_path / "private"
    private.mkdir()
    mount(str(private), str(private), "", MS_BIND)
    mount("", str(private), "", MS_PRIVATE)
    try:
        for propagation in (BOTH_WAYS, TO_CONTAINER):
            asked = api.Mount(host_path=str(private), container_path="/d", propagation=propagation)
            code, message = create(pods, client, node, with_mounts(node, asked))
            assert code == grpc.StatusCode.INVALID_ARGUMENT
            assert "not shared" in message
    finally:
        umount_all(str(private))


NONSENSE: list[dict[str, Any]] = [
    {"host_path": "", "container_path": "/d"},
    {"host_path": "relative", "container_path": "/d"},
    {"host_path": "/tmp", "container_path": ""},
    {"host_path": "/tmp", "container_path": "/proc/sys"},
    {"host_path": "/tmp", "container_path": "/a/../proc"},
    {"host_path": "/tmp\0x", "container_path": "/d"},
    {"host_path": "/tmp", "container_path": "/d", "recursive_read_only": True},
    {"host_path": "/tmp", "container_path": "/d", "mount_options": ["suid"]},
]


def test_mounts_that_make_no_sense_are_refused_and_leave_nothing(client: CriClient, node: Node, pods: Pods) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)
    for asked in NONSENSE:
        config = with_mounts(node, api.Mount(**asked))
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        assert refused(client.CreateContainer, request)[0] == grpc.StatusCode.INVALID_ARGUMENT, asked
    assert not list(node.base.glob("run/containers/*"))


def test_a_host_path_that_does_not_answer_hangs_nobody_else(
    client: CriClient, node: Node, pods: Pods, tmp_path: Path
) -> None:
    """A FUSE server that never answers stands for a dead NFS server."""
    hung = tmp_path / "hung"
    hung.mkdir()
    fuse = os.open("/dev/fuse", os.O_RDWR)
    mount("hung", str(hung), "fuse", 0, f"fd={fuse},rootmode=40000,user_id=0,group_id=0")
    try:
        sandbox = node.pod()
        pod = pods.run(sandbox)
        config = with_mounts(node, api.Mount(host_path=str(hung / "export"), container_path="/d"))
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        waiting = client.CreateContainer.future(request)
        _, container = pods.start("sleep 1000")
        assert run(client, container, "echo ok") == "ok\n"
        assert not waiting.done()
    finally:
        os.close(fuse)  # the server dies: whoever waits for it gets an error
        umount_all(str(hung))
    assert "/d" in waiting.exception(timeout=patient(30)).details()
    config = with_mounts(node)
    assert pods.create(pod, sandbox, config)


def test_the_directory_of_a_process_is_made_when_the_image_has_none(client: CriClient, node: Node, pods: Pods) -> None:
    config = node.container("pwd > /tmp/where; sleep 1000")
    config.working_dir = "/not/in/../the/image"
    _, container = pods.start("", config=config)
    assert run(client, container, "pwd; cat /tmp/where") == "/not/the/image\n" * 2
