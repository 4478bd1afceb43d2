"""Images that may not be here: refused at the pull, and before a container of one that was pulled earlier."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import grpc
import pytest

from cri import api
from rig.cri_client import CriClient

if TYPE_CHECKING:
    from conftest import Node

pytestmark = pytest.mark.root


def restart(node: Node, policy: str) -> CriClient:
    assert node.process
    if node.process.poll() is None:
        node.end(signal.SIGTERM)
    host = node.image.partition("/")[0]
    node.configure(f'[images]\nverifier_dir = "{node.base}/verifiers"\npolicy = {{ "{host}" = "{policy}" }}')
    return node.start()


def pull(client: CriClient, image: str) -> None:
    client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=image)))


def test_a_rejected_image_is_neither_pulled_nor_run(node: Node) -> None:
    with restart(node, "reject") as client:
        with pytest.raises(grpc.RpcError) as refused:
            pull(client, node.image)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert refused.value.details().startswith("SignatureValidationFailed: ")
        config = node.pod()
        pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=config)).pod_sandbox_id
        request = api.CreateContainerRequest(
            pod_sandbox_id=pod, config=node.container("true"), sandbox_config=config
        )
        with pytest.raises(grpc.RpcError, match="SignatureValidationFailed"):
            client.CreateContainer(request)


def test_a_verifier_decides_by_digest(node: Node) -> None:
    verifier = node.base / "verifiers/check"
    verifier.parent.mkdir()
    asked, veto = node.base / "asked", node.base / "veto"
    verifier.write_text(f'#!/bin/sh\necho "$2 $4" > {asked}\n[ ! -e {veto} ] || {{ echo no; exit 1; }}\n')
    verifier.chmod(0o755)
    with restart(node, "verify") as client:
        pull(client, node.image)
        assert asked.read_text().startswith(f"{node.image} sha256:")
        veto.touch()
        with pytest.raises(grpc.RpcError, match=r"SignatureValidationFailed: .*check: no"):
            pull(client, node.image)
