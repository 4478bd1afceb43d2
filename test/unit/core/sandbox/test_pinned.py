import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errdefs import AlreadyExists, InvalidArgument
from core.sandbox.controller import IdMapping, NamespaceMode, SandboxSpec
from core.sandbox.pinned import PinnedController
from core.shims.bundle import Runtime
from core.shims.manager import ShimManager
from rig.fake_shim import FakeZygote

SPEC = SandboxSpec(id="pod", runtime_handler="", hostname="h", sysctls={"net.core.somaxconn": "5"}, shm_size=1 << 20)


@pytest.fixture
async def zygote() -> AsyncIterator[FakeZygote]:
    async with FakeZygote() as zygote:
        yield zygote


@pytest.fixture
async def controller(tmp_path: Path, zygote: FakeZygote) -> AsyncIterator[PinnedController]:
    async with asyncio.TaskGroup() as group:
        manager = ShimManager(str(tmp_path), zygote, group)
        yield PinnedController(manager, {"": Runtime(binary="/bin/true"), "other": Runtime(binary="/bin/false")})
        manager.leave()


async def test_start_asks_the_shim_for_what_the_pod_shares(
    controller: PinnedController, zygote: FakeZygote, tmp_path: Path
) -> None:
    sandbox = await controller.start(SPEC)
    options = zygote.shims["pod"].sandbox_options
    assert options is not None
    assert (options.hostname, options.network, options.ipc, options.uts, options.pid) == ("h", True, True, True, False)
    assert (dict(options.sysctls), options.shm_size) == ({"net.core.somaxconn": "5"}, 1 << 20)
    assert (sandbox.pid, sandbox.created_at) == (zygote.shims["pod"].body.pid, 12.0)
    place = f"{tmp_path}/sandboxes/pod"
    assert sandbox.namespaces == {"network": f"{place}/ns/net", "ipc": f"{place}/ns/ipc", "uts": f"{place}/ns/uts"}
    assert (sandbox.netns, sandbox.shm) == (f"{place}/ns/net", f"{place}/shm")


async def test_a_pod_in_the_nodes_namespaces_has_none(controller: PinnedController) -> None:
    node = NamespaceMode.NODE
    sandbox = await controller.start(SandboxSpec(id="pod", runtime_handler="other", network=node, pid=node, ipc=node))
    assert (dict(sandbox.namespaces), sandbox.netns, sandbox.shm) == ({}, "", "")
    assert await controller.alive("pod")


def test_a_user_namespace_and_a_pid_namespace_are_shared_when_asked_for() -> None:
    mapping = (IdMapping(host_id=65536, container_id=0, length=65536),)
    spec = replace(SPEC, pid=NamespaceMode.POD, uid_mappings=mapping, gid_mappings=mapping)
    assert spec.shared == ("network", "ipc", "uts", "pid", "user")


async def test_starting_again_returns_the_same_sandbox(controller: PinnedController, zygote: FakeZygote) -> None:
    assert await controller.start(SPEC) == await controller.start(SPEC)


async def test_a_failed_start_leaves_nothing(controller: PinnedController, zygote: FakeZygote) -> None:
    with pytest.raises(InvalidArgument):
        await controller.start(replace(SPEC, sysctls={"net.no.such": "1"}))
    assert await controller.list() == []
    await zygote.shims["pod"].body.wait()


async def test_an_unknown_handler_names_the_known_ones(controller: PinnedController) -> None:
    with pytest.raises(InvalidArgument, match="configured are other"):
        await controller.start(replace(SPEC, runtime_handler="kata"))
    assert await controller.list() == []


async def test_a_stopped_sandbox_is_not_alive_and_can_be_stopped_again(controller: PinnedController) -> None:
    await controller.start(SPEC)
    assert await controller.alive("pod")
    await controller.stop("pod")
    assert not await controller.alive("pod")
    await controller.stop("pod")
    with pytest.raises(AlreadyExists):
        await controller.start(SPEC)


async def test_a_sandbox_whose_namespace_was_unmounted_is_not_alive(
    controller: PinnedController, tmp_path: Path
) -> None:
    await controller.start(SPEC)
    (tmp_path / "sandboxes/pod/ns").mkdir()
    (tmp_path / "sandboxes/pod/ns/net").touch()
    assert not await controller.alive("pod")


async def test_stop_and_remove_of_what_is_gone_succeed(controller: PinnedController) -> None:
    await controller.stop("pod")
    await controller.remove("pod")
    assert not await controller.alive("pod")
