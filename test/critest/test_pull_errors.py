"""What the kubelet makes its reasons of when an image does not come."""

from __future__ import annotations

import grpc
import pytest

from cri import api
from rig.cri_client import CriClient
from rig.registry import free_port

pytestmark = pytest.mark.root


def test_a_registry_that_is_down_is_named_as_such_once(client: CriClient) -> None:
    image = api.ImageSpec(image=f"127.0.0.1:{free_port()}/nobody/here:1")
    with pytest.raises(grpc.RpcError) as failed:
        client.PullImage(api.PullImageRequest(image=image))
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
    assert failed.value.details().startswith(f"RegistryUnavailable: {image.image}: ")
    assert failed.value.details().count("RegistryUnavailable") == 1
