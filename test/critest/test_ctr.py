"""containerd's own client, `ctr`, against the services that stand on our stores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
import pytest

from core.api import leases_service_pb2 as leases
from cri import api
from rig.cri_client import CriClient
from rig.images import sha256
from rig.node import wait_until
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root

Ctr = Callable[..., str]


@pytest.fixture
def ctr(node: Node, client: CriClient) -> Ctr:
    """`ctr("images", "ls")` is its standard output; it must succeed unless `code` says otherwise."""
    del client  # it has waited for the daemon

    def run(*words: str, namespace: str = "k8s.io", code: int = 0) -> str:
        command = ["ctr", "--address", f"{node.base}/run/crisp.sock", "-n", namespace, *words]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=patient(120), stdin=subprocess.DEVNULL
        )
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    return run


def blobs(node: Node) -> set[str]:
    return {f"sha256:{name}" for name in os.listdir(node.base / "root/content/blobs/sha256")}


def image_id(client: CriClient, name: str) -> str:
    return str(client.ImageStatus(api.ImageStatusRequest(image=api.ImageSpec(image=name))).image.id)


def test_it_says_who_answers_and_what_is_here(ctr: Ctr, node: Node) -> None:
    assert "Server:" in ctr("version")
    images = ctr("images", "ls").splitlines()
    assert len(images) == 3  # a head, the tag and the digest
    (tagged,) = [line.split() for line in images if line.startswith(f"{node.image} ")]
    assert "linux/amd64" in tagged
    assert ctr("images", "ls", "-q", f"name=={node.image}").split() == [node.image]
    assert {line.split()[0] for line in ctr("content", "ls").splitlines()[1:]} == blobs(node)
    assert ctr("namespaces", "ls", "-q") == "k8s.io\n"
    assert "sha256:" in ctr("snapshots", "ls")
    assert "everything is in 'k8s.io'" in ctr("images", "ls", namespace="default", code=1)


def test_a_blob_can_be_read_and_one_that_an_image_needs_is_not_removed(ctr: Ctr, node: Node) -> None:
    target = ctr("images", "ls").splitlines()[1].split()[2]
    manifest = json.loads(ctr("content", "get", target))
    assert {target, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])} == blobs(node)
    assert "remove the image" in ctr("content", "rm", target, code=1)
    assert target in blobs(node)


def test_an_exported_image_comes_back_and_runs(ctr: Ctr, node: Node, client: CriClient, pods: Pods) -> None:
    before = image_id(client, node.image)
    archive = str(node.base / "image.tar")
    ctr("images", "export", archive, node.image)
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=node.image)))
    assert blobs(node) == set()
    assert node.image in ctr("images", "import", archive)
    assert image_id(client, node.image) == before
    _, container = pods.start("exit 7")
    status = api.ContainerStatusRequest(container_id=container)
    wait_until(lambda: client.ContainerStatus(status).status.exit_code == 7, "it has run")
    assert ctr("leases", "ls", "-q") == ""


def test_a_tag_names_the_same_image_and_goes_alone(ctr: Ctr, node: Node, client: CriClient) -> None:
    ctr("images", "tag", node.image, "example.com/other:1")
    assert image_id(client, "example.com/other:1") == image_id(client, node.image)
    assert "already exists" in ctr("images", "tag", node.image, "example.com/other:1", code=1)
    ctr("images", "rm", "example.com/other:1")
    assert image_id(client, "example.com/other:1") == ""
    assert image_id(client, node.image)
    names = ctr("images", "ls", "-q").split()
    ctr("images", "rm", "--sync", *names)
    assert blobs(node) == set()


def test_an_archive_that_the_policy_refuses_makes_no_image(ctr: Ctr, node: Node, client: CriClient) -> None:
    archive = str(node.base / "image.tar")
    ctr("images", "export", archive, node.image)
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=node.image)))
    node.end(signal.SIGTERM)
    node.configure(f'[images]\npolicy = {{ "{node.image.partition("/")[0]}" = "reject" }}')
    node.start().close()
    assert "the policy for" in ctr("images", "import", archive, code=1)
    assert ctr("images", "ls", "-q") == ""


def test_content_that_is_not_what_its_digest_says_is_refused(ctr: Ctr, node: Node) -> None:
    good = b"x" * 3_000_000
    digest = sha256(good)
    ingest = ["content", "ingest", "--expected-digest", digest, "--expected-size", "3000000"]
    command = ["ctr", "--address", f"{node.base}/run/crisp.sock", "-n", "k8s.io", *ingest, "a"]
    for data, ok in ((b"y" * len(good), False), (good, True)):
        done = subprocess.run(command, check=False, input=data, capture_output=True, timeout=patient(60))
        assert (done.returncode == 0) is ok, done.stderr
        assert (digest in blobs(node)) is ok
    assert len(ctr("content", "active").splitlines()) == 1  # its head
    ctr("content", "rm", digest)
    assert digest not in blobs(node)


def test_what_a_lease_holds_stays_over_restarts_until_it_is_deleted(ctr: Ctr, node: Node, client: CriClient) -> None:
    ctr("images", "tag", node.image, "example.com/other:1")
    held = min(blobs(node))
    lease = "1-a--_"  # as clients make them: random base64url behind a number
    ctr("leases", "create", "--id", lease)
    hold(node, lease, held)
    node.end(signal.SIGKILL)
    node.start().close()
    ctr("images", "rm", "--sync", *ctr("images", "ls", "-q").split())
    assert blobs(node) == {held}
    ctr("leases", "rm", "--sync", lease)
    assert blobs(node) == set()


def hold(node: Node, lease: str, blob: str) -> None:
    with grpc.insecure_channel(f"unix:{node.base}/run/crisp.sock") as channel:
        add = channel.unary_unary(
            "/containerd.services.leases.v1.Leases/AddResource",
            request_serializer=leases.AddResourceRequest.SerializeToString,
        )
        resource = leases.Resource(id=blob, type="content")
        add(leases.AddResourceRequest(id=lease, resource=resource), metadata=[("containerd-namespace", "k8s.io")])


def test_an_exported_archive_is_what_other_tools_read(ctr: Ctr, node: Node) -> None:
    archive = node.base / "image.tar"
    ctr("images", "export", str(archive), node.image)
    with tarfile.open(archive) as tar:
        assert "manifest.json" in tar.getnames()
    copied = node.base / "copied"
    copy = ["skopeo", "copy", f"oci-archive:{archive}", f"dir:{copied}"]
    subprocess.run(copy, check=True, capture_output=True, timeout=patient(60))
    assert (copied / "manifest.json").exists()


def test_what_labels_ask_to_keep_stays_over_restarts_until_they_are_taken_back(ctr: Ctr, node: Node) -> None:
    root, below = b"root", b"below"
    for data in (root, below):
        command = ["ctr", "--address", f"{node.base}/run/crisp.sock", "-n", "k8s.io", "content", "ingest", "ref"]
        subprocess.run(command, check=True, input=data, capture_output=True, timeout=patient(60))
    gc = "containerd.io/gc."
    ctr("content", "label", sha256(root), f"{gc}root=now", f"{gc}ref.content.x={sha256(below)}")
    node.end(signal.SIGKILL)
    node.start().close()
    ctr("images", "rm", "--sync", *ctr("images", "ls", "-q").split())
    assert blobs(node) == {sha256(root), sha256(below)}
    (listed,) = ctr("content", "ls", f'labels."{gc}root"==now').splitlines()[1:]
    assert sha256(root) in listed
    assert sha256(below) in listed  # among its labels
    ctr("content", "label", sha256(root), f"{gc}root=")
    ctr("leases", "create", "--id", "one")
    ctr("leases", "rm", "--sync", "one")
    assert blobs(node) == set()
