"""Volumes that images declare, and images as volumes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from cri import api
from rig.cri_calls import refused, run, status
from rig.cri_client import CriClient
from rig.images import artifact, build, busybox, files, layer, push
from rig.node import wait_until
from rig.registry import running_registry

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("volumes")) as address:
        yield address


def pull(client: CriClient, name: str) -> str:
    return str(client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=name))).image_ref)


def with_volumes(registry: str, tag: str, content: dict[str, bytes | str], *targets: str) -> str:
    layers = [*busybox().layers, *([layer(files(content, mode=0o640))] if content else [])]
    config = {"Env": ["PATH=/bin"], "Volumes": {target: {} for target in targets}}
    return push(build(layers, config=config), registry, "test/volumes", tag)


def data_image(registry: str, client: CriClient) -> str:
    """An image of two layers with data only; returns its id."""
    layers = [
        layer(files({"docs/readme": b"read me\n", "gone": b"", "out": "/etc"})),
        layer(files({"docs/more": b"more\n", ".wh.gone": b""})),
    ]
    return pull(client, push(build(layers), registry, "test/data", "1"))


def start(pods: Pods, client: CriClient, node: Node, config: api.ContainerConfig) -> str:
    sandbox = node.pod()
    container = pods.create(pods.run(sandbox), sandbox, config)
    client.StartContainer(api.StartContainerRequest(container_id=container))
    return container


def mounting(node: Node, image: str, **fields: object) -> api.ContainerConfig:
    config = node.container("sleep 1000")
    mount = {"readonly": True, "container_path": "/data", **fields}
    config.mounts.append(api.Mount(image=api.ImageSpec(image=image), **mount))  # type: ignore[arg-type]
    return config


def test_a_declared_volume_begins_with_the_images_files_and_is_the_containers_own(
    client: CriClient, node: Node, pods: Pods, registry: str
) -> None:
    content = {"data/deep/file": b"from the image\n", "data/link": "deep/file"}
    image = with_volumes(registry, "own", content, "/data", "/new/empty", "/etc/hosts/../../data2")
    pull(client, image)
    first, second = (node.container("sleep 1000") for _ in range(2))
    for config in (first, second):
        config.image.image = image
        config.linux.security_context.readonly_rootfs = True
    seen = []
    for config in (first, second):
        container = start(pods, client, node, config)
        seen.append(run(client, container, "cat /data/link; stat -c %a /data/deep/file; ls /data; ls /new/empty"))
        changed = run(client, container, "echo x > /data/deep/file; touch /new/empty/y /data2/z; touch /root/no")
        assert "Read-only file system" in changed
        assert len(changed.splitlines()) == 1
    assert seen == ["from the image\n640\ndeep\nlink\n"] * 2
    kept = list((node.base / "root/volumes").glob("*/*/deep/file"))
    assert [path.read_text() for path in kept] == ["x\n", "x\n"]
    assert (node.base / "root/volumes").stat().st_mode & 0o077 == 0


def test_what_the_kubelet_mounts_replaces_a_declared_volume(
    client: CriClient, node: Node, pods: Pods, registry: str, tmp_path: Path
) -> None:
    image = with_volumes(registry, "taken", {"data/file": b"x"}, "/data", "/dev/shm", "/sys/fs/cgroup")
    pull(client, image)
    (tmp_path / "mine").mkdir()
    config = node.container("sleep 1000")
    config.image.image = image
    config.mounts.add(host_path=str(tmp_path / "mine"), container_path="/data/")
    container = start(pods, client, node, config)
    assert run(client, container, "ls /data") == ""
    assert list((node.base / "root/volumes").glob("*/*")) == []


def test_volumes_never_reach_out_of_the_image(
    client: CriClient, node: Node, pods: Pods, registry: str, tmp_path: Path
) -> None:
    """CVE-2022-23648: by .., by a link, absolute or relative; and CVE-2019-16884: over the runtime's own places."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    up = "../" * 20
    of_image = f"{secret}/inner".lstrip("/")  # the same path inside, or the OCI runtime would find no mount point
    content: dict[str, bytes | str] = {"v": f"{up}{secret}", "w": str(secret), of_image: b""}
    image = with_volumes(registry, "out", content, f"/{up}{secret}", "/v", "/w")
    pull(client, image)
    config = node.container("sleep 1000")
    config.image.image = image
    container = start(pods, client, node, config)
    assert set(run(client, container, f"find /v/ /w/ {secret}/ -type f | xargs -n1 basename").split()) == {"inner"}
    assert [path.name for path in secret.iterdir()] == ["key"]
    assert list((node.base / "root/volumes").rglob("key")) == []
    sandbox = node.pod()
    pod = pods.run(sandbox)
    for number, target in enumerate(("/proc", "/sys/kernel/..", "/", "/dev/../proc/sys")):
        image = with_volumes(registry, f"bad{number}", {}, target)
        pull(client, image)
        config = node.container("sleep 1000")
        config.image.image = image
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        assert refused(client.CreateContainer, request)[0] == grpc.StatusCode.INVALID_ARGUMENT, target


def test_an_image_is_mounted_read_only_with_all_its_layers_and_reported(
    client: CriClient, node: Node, pods: Pods, registry: str
) -> None:
    image = data_image(registry, client)
    container = start(pods, client, node, mounting(node, image))
    seen = run(client, container, "cat /data/docs/readme /data/docs/more; ls /data; touch /data/docs/readme")
    assert seen.splitlines()[:4] == ["read me", "more", "docs", "out"]
    assert "Read-only file system" in seen
    mount = status(client, container).mounts[0]
    assert mount.image.image == image
    assert mount.image.image_ref == image
    assert mount.host_path == ""


def test_a_part_of_an_image_is_mounted_and_its_links_stay_inside(
    client: CriClient, node: Node, pods: Pods, registry: str
) -> None:
    image = data_image(registry, client)
    container = start(pods, client, node, mounting(node, image, image_sub_path="docs"))
    assert run(client, container, "ls /data") == "more\nreadme\n"
    container = start(pods, client, node, mounting(node, image, image_sub_path="docs/more"))
    assert run(client, container, "cat /data") == "more\n"
    sandbox = node.pod()
    pod = pods.run(sandbox)
    for path, code in (
        ("none", grpc.StatusCode.NOT_FOUND),
        ("gone", grpc.StatusCode.NOT_FOUND),
        ("out", grpc.StatusCode.NOT_FOUND),  # /etc of the image, which it has not
        ("docs/../..", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        config = mounting(node, image, image_sub_path=path)
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        found, message = refused(client.CreateContainer, request)
        assert found == code, path
        assert "ImageVolumeMountFailed" in message


def test_image_mounts_that_make_no_sense_are_refused(client: CriClient, node: Node, pods: Pods, registry: str) -> None:
    image = data_image(registry, client)
    sandbox = node.pod()
    pod = pods.run(sandbox)
    for config, code in (
        (mounting(node, image, readonly=False), grpc.StatusCode.INVALID_ARGUMENT),
        (mounting(node, image, host_path="/tmp"), grpc.StatusCode.INVALID_ARGUMENT),
        (mounting(node, "127.0.0.1:1/none:1"), grpc.StatusCode.NOT_FOUND),
    ):
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        found, message = refused(client.CreateContainer, request)
        assert found == code
        assert "ImageVolumeMountFailed" in message
    assert not list(node.base.glob("run/containers/*"))


def test_an_artifact_is_listed_and_mounted_and_cannot_run(
    client: CriClient, node: Node, pods: Pods, registry: str
) -> None:
    built = artifact({"models/weights": b"heavy\n"})
    name = push(built, registry, "test/artifact", "1")
    assert pull(client, name) == built.digest
    assert built.digest in [image.id for image in client.ListImages(api.ListImagesRequest()).images]
    container = start(pods, client, node, mounting(node, name))
    assert run(client, container, "cat /data/models/weights") == "heavy\n"
    status = client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status
    assert [mount.image.image_ref for mount in status.mounts if mount.container_path == "/data"] == [built.digest]
    config = node.container("true")
    config.image.image = name
    sandbox = node.pod()
    with pytest.raises(grpc.RpcError, match="artifact"):
        pods.create(pods.run(sandbox), sandbox, config)


def test_a_mounted_image_can_be_removed_and_stays_readable_until_its_container_goes(
    client: CriClient, node: Node, pods: Pods, registry: str
) -> None:
    image = data_image(registry, client)
    container = start(pods, client, node, mounting(node, image))
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=image)))
    node.end(signal.SIGKILL)
    with node.start() as again:  # collects what nobody needs
        assert run(again, container, "cat /data/docs/readme") == "read me\n"
        before = snapshots(node)
        again.RemoveContainer(api.RemoveContainerRequest(container_id=container))
        assert len(snapshots(node)) == len(before) - 2  # the container's own, and its view
    node.end(signal.SIGTERM)
    with node.start():
        wait_until(lambda: len(snapshots(node)) == len(before) - 4, "the two layers of the image are gone, too")


def snapshots(node: Node) -> list[Path]:
    """Without those that are removed: their files go in the background."""
    return [path for path in (node.base / "root/snapshots").iterdir() if not path.name.startswith("rm-")]


def test_what_a_crash_left_of_volumes_and_image_mounts_is_swept(
    client: CriClient, node: Node, pods: Pods, registry: str
) -> None:
    """A reboot takes the bundles, which are in memory, and leaves what is on disk."""
    node.end(signal.SIGKILL)
    (node.base / "root/volumes" / ("a" * 64) / "0").mkdir(parents=True)
    with node.start():
        node.wait_swept()
