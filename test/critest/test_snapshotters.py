"""Runtime handlers that name a snapshotter of their own: images are unpacked for who uses them, and nothing is left."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from cri import api
from rig.cri_calls import refused, run, verbose
from rig.cri_client import CriClient
from rig.images import build, files, layer, push
from rig.node import Node, wait_until
from rig.registry import running_registry

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Pods

pytestmark = pytest.mark.root
HANDLER = '[runtimes.copies]\nbinary = "/usr/bin/crun"\nsnapshotter = "native"\n'


@pytest.fixture
def client(node: Node) -> Iterator[CriClient]:
    node.end(signal.SIGTERM)
    node.configure(HANDLER)
    with node.start() as client:
        yield client


def snapshots(node: Node, kind: str = "") -> list[str]:
    """Names of what is in the native snapshotter."""
    metas = [json.loads(path.read_text()) for path in (node.base / "root/snapshots-native").glob("*/meta.json")]
    return [meta["name"] for meta in metas if kind in meta["kind"]]


def start(node: Node, client: CriClient, config: api.ContainerConfig) -> str:
    sandbox = node.pod()
    request = api.RunPodSandboxRequest(config=sandbox, runtime_handler="copies")
    pod = client.RunPodSandbox(request).pod_sandbox_id
    node.sandboxes.add(pod)
    create = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
    container = str(client.CreateContainer(create).container_id)
    client.StartContainer(api.StartContainerRequest(container_id=container))
    return container


def used(client: CriClient) -> int:
    return int(client.ImageFsInfo(api.ImageFsInfoRequest()).image_filesystems[0].used_bytes.value)


def root_of(client: CriClient, container: str) -> str:
    return run(client, container, "grep ' / ' /proc/mounts | tail -n 1 | cut -d' ' -f3").strip()


def snapshotter_of(client: CriClient, container: str) -> str:
    return str(verbose(client, container)["snapshotter"])


def test_a_container_stands_in_its_handlers_snapshotter_and_is_removed_with_all_it_took(
    node: Node, client: CriClient, pods: Pods
) -> None:
    before = used(client)
    _, ordinary = pods.start("sleep 1000")
    assert (root_of(client, ordinary), snapshotter_of(client, ordinary)) == ("overlay", "overlayfs")
    assert snapshots(node) == []
    container = start(node, client, node.container("sleep 1000"))
    assert root_of(client, container) != "overlay"
    assert snapshotter_of(client, container) == "native"
    assert container in snapshots(node, "active")
    assert used(client) > before + 100_000  # the layers, once more
    run(client, container, "echo mine >/mine")
    other = start(node, client, node.container("sleep 1000"))
    assert "No such file" in run(client, other, "cat /mine")
    node.end(signal.SIGKILL)
    with node.start() as again:
        assert run(again, container, "cat /mine") == "mine\n"
        for pod in again.ListPodSandbox(api.ListPodSandboxRequest()).items:
            again.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod.id))
        assert snapshots(node, "active") == []
        again.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=node.image)))
        assert snapshots(node) == []
        wait_until(lambda: used(again) < before, "the space of the image is free")


def test_a_pull_for_a_handler_unpacks_for_it_alone(node: Node, client: CriClient, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with running_registry(tmp_path / "registry") as registry:
        name = push(build([layer(files({"data": b"x"}))]), registry, "library/data", "1")
        overlays = len(list((node.base / "root/snapshots").iterdir()))
        client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=name, runtime_handler="copies")))
        assert len(snapshots(node, "committed")) == 1
        assert len(list((node.base / "root/snapshots").iterdir())) == overlays
        unknown = api.ImageSpec(image=name, runtime_handler="no")
        assert "copies" in refused(client.PullImage, api.PullImageRequest(image=unknown))[1]
        config = node.container("cat /volume/data")
        config.mounts.add(container_path="/volume", image=api.ImageSpec(image=name), readonly=True)
        container = start(node, client, config)
        assert snapshotter_of(client, container) == "native"
        client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=name)))


def test_a_snapshotter_that_no_handler_names_any_more_is_emptied_with_its_images(
    node: Node, client: CriClient
) -> None:
    client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=node.image, runtime_handler="copies")))
    assert snapshots(node)
    node.end(signal.SIGTERM)
    node.configure("")
    with node.start() as again:
        again.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=node.image)))
    assert snapshots(node) == []
