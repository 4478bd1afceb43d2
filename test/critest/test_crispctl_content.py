"""crispctl content: what a disk or a power cut did to images is found and mended."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cri import api
from rig.cri_client import CriClient
from rig.crispctl import Crispctl
from rig.images import build, files, index, layer, push
from rig.node import wait_until
from rig.registry import running_registry

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root

Content = Callable[..., Any]


@pytest.fixture
def content(node: Node, client: CriClient) -> Content:
    """`content("verify", code=1)` is what it found."""
    del client  # it has waited for the daemon
    ctl = Crispctl(node)
    return lambda verb, code=0: json.loads(ctl("content", verb, "--json", code=code))


def blobs(node: Node) -> dict[str, Path]:
    return {f"sha256:{path.name}": path for path in (node.base / "root/content/blobs/sha256").iterdir()}


def damage(path: Path, kind: int) -> str:
    data = path.read_bytes()
    if kind == 0:
        path.unlink()
        return "missing"
    if kind == 1:
        path.write_bytes(b"")
        return f"0 bytes, and not {len(data)}"
    path.write_bytes(bytes(len(data)))
    return "its digest is sha256:"


def test_every_blob_is_found_damaged_and_fetched_again(content: Content, node: Node) -> None:
    assert content("verify") == []
    before = {name: path.read_bytes() for name, path in blobs(node).items()}
    for kind in range(3):
        wrong = {name: damage(path, kind) for name, path in blobs(node).items()}
        for verb, code in (("verify", 1), ("repair", 0)):
            found = content(verb, code)
            assert {one["subject"] for one in found} == set(wrong)
            assert all(one["problem"].startswith(wrong[one["subject"]]) for one in found)
            assert all(one["repaired"] is (verb == "repair") for one in found)
        assert {name: path.read_bytes() for name, path in blobs(node).items()} == before
        assert content("verify") == []


def test_a_lost_layer_is_unpacked_again(content: Content, node: Node, client: CriClient, pods: Pods) -> None:
    node.end(signal.SIGTERM)
    for directory in (node.base / "root/snapshots").iterdir():
        if json.loads((directory / "meta.json").read_bytes())["parent"] == "":
            shutil.rmtree(directory)
    node.start().close()
    found = content("repair")
    assert {one["problem"] for one in found} == {"not unpacked"}
    assert content("verify") == []
    _, container = pods.start("exit 7")
    status = api.ContainerStatusRequest(container_id=container)
    wait_until(lambda: client.ContainerStatus(status).status.exit_code == 7, "it has run")


def test_a_damaged_file_is_mended_once_no_container_stands_on_it(
    content: Content, node: Node, client: CriClient, pods: Pods
) -> None:
    pod, container = pods.start("sleep 1000")
    (passwd,) = (node.base / "root/snapshots").glob("*/fs/etc/passwd")
    before = passwd.read_bytes()
    passwd.write_bytes(b"")
    (found,) = content("repair", 1)
    assert f"'etc/passwd': 0 bytes, and not {len(before)}" in found["problem"]
    assert container in found["reason"]
    client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
    assert [one["repaired"] for one in content("repair")] == [True]
    assert passwd.read_bytes() == before
    assert content("verify") == []


def test_an_index_is_looked_after_and_a_registry_that_is_gone_is_the_reason(
    content: Content, node: Node, client: CriClient, tmp_path_factory: pytest.TempPathFactory
) -> None:
    built = build([layer(files({"a": b"1"}))])
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        name = push(index([(built, "amd64")]), registry, "test/index", "1")
        client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=name)))
        digest = index([(built, "amd64")]).digest
        damage(blobs(node)[digest], 2)
        assert [(one["subject"], one["repaired"]) for one in content("repair")] == [(digest, True)]
    damage(blobs(node)[digest], 2)
    (found,) = content("repair", 1)
    assert registry.host in found["reason"]
    assert not found["repaired"]
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=name)))
    assert content("verify") == []
