"""crispctl image: archives in and out, and names."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from cri import api
from rig.cri_client import CriClient
from rig.crispctl import Crispctl
from rig.node import wait_until
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root



@pytest.fixture
def ctl(node: Node, client: CriClient) -> Crispctl:
    del client  # it has waited for the daemon
    return Crispctl(node)


def remove(client: CriClient, node: Node) -> None:
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=node.image)))
    assert stored(node) == []


def stored(node: Node) -> list[str]:
    return [*os.listdir(node.base / "root/content/blobs/sha256"), *os.listdir(node.base / "root/content/ingest")]


def image_id(client: CriClient, name: str) -> str:
    return str(client.ImageStatus(api.ImageStatusRequest(image=api.ImageSpec(image=name))).image.id)


def test_an_exported_image_comes_back_and_runs(ctl: Crispctl, node: Node, client: CriClient, pods: Pods) -> None:
    archive, before = str(node.base / "image.tar"), image_id(client, node.image)
    assert ctl("image", "export", archive, node.image) == f"{node.image}\n"
    remove(client, node)
    assert ctl("image", "import", archive) == f"{node.image}\n"
    assert image_id(client, node.image) == before
    _, container = pods.start("exit 7")
    status = api.ContainerStatusRequest(container_id=container)
    wait_until(lambda: client.ContainerStatus(status).status.exit_code == 7, "it has run")
    assert ctl("image", "import", archive) == f"{node.image}\n"


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_archives_of_other_tools_come_in(ctl: Crispctl, node: Node, client: CriClient, kind: str) -> None:
    archive, before = node.base / "other.tar", image_id(client, node.image)
    source = f"docker://{node.image}"
    copy = ["skopeo", "copy", "--src-tls-verify=false", source, f"{kind}:{archive}:example.com/other:1"]
    subprocess.run(copy, check=True, capture_output=True, timeout=patient(60))
    remove(client, node)
    assert ctl("image", "import", str(archive)) == "example.com/other:1\n"
    assert image_id(client, "example.com/other:1")[:7] == before[:7] == "sha256:"


def test_other_tools_read_what_is_exported(ctl: Crispctl, node: Node) -> None:
    archive = node.base / "image.tar"
    ctl("image", "tag", node.image, "example.com/other:1")
    ctl("image", "export", str(archive), node.image, "example.com/other:1")
    for kind in (f"docker-archive:{archive}:{node.image}", f"oci-archive:{archive}:1.36"):
        subprocess.run(["skopeo", "inspect", kind], check=True, capture_output=True, timeout=patient(60))


def test_a_tag_moves_from_image_to_image(ctl: Crispctl, node: Node, client: CriClient) -> None:
    assert ctl("image", "tag", node.image, "other") == "docker.io/library/other:latest\n"
    assert image_id(client, "other") == image_id(client, node.image)
    assert ctl("image", "tag", image_id(client, node.image), "other") == "docker.io/library/other:latest\n"
    assert "no image 'none'" in ctl.fails("image", "tag", "none", "other")
    assert "invalid argument" in ctl.fails("image", "tag", node.image, "UPPER")


def test_what_may_not_come_in_leaves_nothing(ctl: Crispctl, node: Node, client: CriClient) -> None:
    """CVE-2023-25153."""
    archive = node.base / "image.tar"
    ctl("image", "export", str(archive), node.image)
    remove(client, node)
    (node.base / "cut.tar").write_bytes(archive.read_bytes()[:-600_000])
    (node.base / "junk.tar").write_bytes(os.urandom(100_000))
    assert "Error: " in ctl.fails("image", "import", f"{node.base}/cut.tar")
    assert "no archive" in ctl.fails("image", "import", f"{node.base}/junk.tar")
    node.end(signal.SIGTERM)
    node.configure(f'[images]\npolicy = {{ "{node.image.partition("/")[0]}" = "reject" }}')
    node.start().close()
    assert "the policy for" in ctl.fails("image", "import", str(archive))
    assert stored(node) == []
    assert list(node.base.glob("*.partial")) == []
