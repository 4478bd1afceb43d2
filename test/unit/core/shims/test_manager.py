import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.errdefs import AlreadyExists, InvalidArgument, NotFound, Unavailable
from core.shim.rest import FIRST
from core.shims.bundle import Runtime
from core.shims.manager import Liveness, ShimManager
from rig.fake_shim import FakeZygote

RUNTIME = Runtime(binary="/bin/true", root="/nowhere", systemd_cgroup=True)


@pytest.fixture
async def zygote() -> AsyncIterator[FakeZygote]:
    async with FakeZygote() as zygote:
        yield zygote


@pytest.fixture
async def manager(tmp_path: Path, zygote: FakeZygote) -> AsyncIterator[ShimManager]:
    async with asyncio.TaskGroup() as group:
        manager = ShimManager(str(tmp_path), zygote, group)
        yield manager
        manager.leave()


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


async def test_a_started_shim_answers_and_knows_where_it_lives(manager: ShimManager, zygote: FakeZygote) -> None:
    shim = await manager.start("pod", RUNTIME)
    await (await shim.client()).ping("pod")
    directory = manager.directory("pod")
    assert manager.get("pod") is shim
    assert zygote.shims["pod"].args == {
        "id": "pod",
        "dir": directory.path,
        "events": manager.events_address,
        "namespace": "k8s.io",
        "quiet": FIRST,
    }
    assert (mode(directory.path), mode(directory.socket), mode(os.path.dirname(directory.path))) == (
        0o700,
        0o600,
        0o711,
    )


async def test_the_runtime_of_a_sandbox_outlives_the_daemon(manager: ShimManager) -> None:
    await manager.start("pod", RUNTIME)
    assert manager.directory("pod").runtime() == RUNTIME


async def test_a_taken_id_is_refused(manager: ShimManager) -> None:
    await manager.start("pod", RUNTIME)
    with pytest.raises(AlreadyExists):
        await manager.start("pod", RUNTIME)


@pytest.mark.parametrize("sandbox_id", ["../x", "", "a/b", ".hidden"])
async def test_an_id_that_is_no_name_is_refused(manager: ShimManager, sandbox_id: str) -> None:
    with pytest.raises(InvalidArgument):
        await manager.start(sandbox_id, RUNTIME)


async def test_a_shim_that_dies_at_birth_is_unavailable_and_removable(
    manager: ShimManager, zygote: FakeZygote
) -> None:
    zygote.stillborn = True
    with pytest.raises(Unavailable):
        await manager.start("pod", RUNTIME)
    assert manager.ids() == ["pod"]
    await manager.remove("pod")
    assert manager.ids() == []


async def test_the_death_of_a_shim_is_told_once(manager: ShimManager, zygote: FakeZygote) -> None:
    deaths: list[str] = []
    told = asyncio.Event()
    manager.subscribe(deaths.append)
    manager.subscribe(lambda _: told.set())
    await manager.start("pod", RUNTIME)
    zygote.shims["pod"].body.kill()
    await told.wait()
    assert deaths == ["pod"]
    with pytest.raises(Unavailable):
        manager.get("pod")
    assert await manager.adopt("pod") is Liveness.DEAD


async def test_removing_ends_the_shim_by_word_and_tells_no_death(manager: ShimManager, zygote: FakeZygote) -> None:
    deaths: list[str] = []
    manager.subscribe(deaths.append)
    await manager.start("pod", RUNTIME)
    await manager.remove("pod")
    await zygote.shims["pod"].body.wait()
    assert zygote.shims["pod"].calls == ["shutdown"]
    assert (deaths, manager.ids()) == ([], [])
    await manager.remove("pod")


async def test_another_daemon_finds_the_shim(manager: ShimManager, zygote: FakeZygote, tmp_path: Path) -> None:
    await manager.start("pod", RUNTIME)
    manager.leave()
    async with asyncio.TaskGroup() as group:
        successor = ShimManager(str(tmp_path), zygote, group)
        assert await successor.adopt("pod") is Liveness.ALIVE
        assert await successor.adopt("pod") is Liveness.ALIVE
        assert successor.get("pod").runtime == RUNTIME
        successor.leave()


async def test_another_daemon_removes_a_shim_that_it_never_adopted(
    manager: ShimManager, zygote: FakeZygote, tmp_path: Path
) -> None:
    await manager.start("pod", RUNTIME)
    manager.leave()
    async with asyncio.TaskGroup() as group:
        await ShimManager(str(tmp_path), zygote, group).remove("pod")
    await zygote.shims["pod"].body.wait()
    assert manager.ids() == []


async def test_a_shim_that_lives_and_does_not_answer_is_unknown(
    manager: ShimManager, zygote: FakeZygote, tmp_path: Path
) -> None:
    await manager.start("pod", RUNTIME)
    zygote.shims["pod"].answers = False
    assert await manager.adopt("pod") is Liveness.UNKNOWN
    zygote.shims["pod"].answers = True
    assert await manager.adopt("pod") is Liveness.ALIVE


async def test_a_pid_that_is_another_process_now_is_a_dead_shim(
    manager: ShimManager, zygote: FakeZygote, tmp_path: Path
) -> None:
    await manager.start("pod", RUNTIME)
    manager.leave()
    record = tmp_path / "sandboxes/pod/shim.json"
    record.write_text(record.read_text().replace('"start_time": ', '"start_time": 1'))
    Path(manager.directory("pod").socket).unlink()  # as the shim did that had this pid
    assert await manager.adopt("pod") is Liveness.DEAD
    await manager.remove("pod")
    assert zygote.shims["pod"].body.returncode is None


@pytest.mark.parametrize("record", ["", "{}", '{"pid": "x"}'])
async def test_a_record_that_makes_no_sense_is_a_dead_shim(
    manager: ShimManager, tmp_path: Path, record: str
) -> None:
    await manager.start("pod", RUNTIME)
    manager.leave()
    (tmp_path / "sandboxes/pod/shim.json").write_text(record)
    with pytest.raises(NotFound):
        manager.directory("pod").shim()
    assert await manager.adopt("pod") is Liveness.DEAD
    await manager.remove("pod")


async def test_an_unknown_sandbox_is_dead(manager: ShimManager) -> None:
    assert await manager.adopt("pod") is Liveness.DEAD


async def test_a_lost_connection_is_made_anew(manager: ShimManager) -> None:
    shim = await manager.start("pod", RUNTIME)
    client = await shim.client()
    client.close()
    again = await shim.client()
    assert again is not client
    await again.ping("pod")


async def test_leftovers_are_ended_by_the_runtime_of_the_sandbox(
    manager: ShimManager, zygote: FakeZygote, tmp_path: Path
) -> None:
    runtime = tmp_path / "runtime"
    runtime.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n')
    runtime.chmod(0o755)
    shim = await manager.start("pod", Runtime(binary=str(runtime), root="/r"))
    shim.directory.add_container("c", "/bundle")
    shim.directory.add_container("c", "/bundle")
    assert shim.directory.containers() == {"c": "/bundle"}
    told = asyncio.Event()
    manager.subscribe(lambda _: told.set())
    zygote.shims["pod"].body.kill()
    await told.wait()
    assert (tmp_path / "said").read_text() == "--root /r delete --force c\n"


async def test_a_group_may_pass_through_the_directory_of_its_pod(manager: ShimManager) -> None:
    shim = await manager.start("pod", RUNTIME, group=os.getgid())
    assert mode(shim.directory.path) == 0o710
