"""A shim that nobody asks for a pod ends by itself; one that has a pod waits to be told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from core.api import sandbox_pb2
from core.errdefs import Unavailable
from core.files.dirs import temporary_dir
from core.shim import serve as serving
from core.shim.pod import Place
from core.ttrpc.address import listen
from core.ttrpc.client import Client

SANDBOX = "containerd.runtime.sandbox.v1.Sandbox"


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(serving, "HANDSHAKE", 0.2)
    with temporary_dir() as made:
        yield made


def serve(directory: str) -> asyncio.Task[None]:
    listener = listen(f"{directory}/shim.sock")
    place = Place(id="pod", dir=directory, events=f"{directory}/events.sock", namespace="k8s.io")
    return asyncio.create_task(serving.serve(place, listener))


async def test_a_shim_that_nobody_asks_for_a_pod_ends_by_itself(directory: str) -> None:
    async with asyncio.timeout(10):
        await serve(directory)
    with pytest.raises(Unavailable):
        await Client.connect(f"{directory}/shim.sock")


async def test_a_shim_that_has_a_pod_waits_until_it_is_told(directory: str) -> None:
    shim = serve(directory)
    client = await Client.connect(f"{directory}/shim.sock")
    create = sandbox_pb2.CreateSandboxRequest(sandbox_id="pod")
    await client.call(SANDBOX, "CreateSandbox", create, sandbox_pb2.CreateSandboxResponse, timeout=5)
    assert not (await asyncio.wait([shim], timeout=0.5))[0]
    shutdown = sandbox_pb2.ShutdownSandboxRequest(sandbox_id="pod")
    await client.call(SANDBOX, "ShutdownSandbox", shutdown, sandbox_pb2.ShutdownSandboxResponse, timeout=5)
    client.close()
    async with asyncio.timeout(10):
        await shim
