"""An exit reaches the record and whoever waits for it, whatever happens to the disk."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from core.errdefs import ResourceExhausted
from core.oci.user import User
from core.tasks.tasks import TaskExit
from cri.container.exits import Exits, exited
from cri.container.record import new_record
from cri.store import container as container_store
from cri.store.container import Container
from cri.store.store import Store
from rig.specs import source


class FailingRecords:
    """A record store whose disk fails once something is in it."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure
        self._puts = 0

    def put(self, *_records: Any, **_options: Any) -> None:
        self._puts += 1
        if self._puts > 1:
            raise self._failure


@pytest.fixture(params=[ResourceExhausted("disk full"), OSError(5, "Input/output error")], ids=["full", "broken"])
def store(request: pytest.FixtureRequest) -> Iterator[Store[Container]]:
    with ThreadPoolExecutor(1) as executor:
        records: Any = FailingRecords(request.param)
        yield Store("container", Container, container_store.list_item, records, executor)


async def test_an_exit_that_cannot_be_written_wakes_its_waiters_and_ends_nothing_else(store: Store[Container]) -> None:
    made = new_record(source(), User(uid=0, gid=0, groups=()), [], name="app", created_at=1)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        exits = Exits(store, group)
        await store.put(dataclasses.replace(made, started_at=2, pid=7))
        waiting = asyncio.ensure_future(exits.wait_exited(made.id))
        await asyncio.sleep(0)
        exits.on_exit(TaskExit(container_id=made.id, exec_id="", pid=7, exit_code=3, exited_at=1.0))
        await waiting
    found = store.find(made.id)
    assert found
    assert (found.exit_code, found.reason) == (3, "Error")


@pytest.mark.parametrize("jump", [-365 * 86400, 365 * 86400], ids=["back", "forth"])
def test_a_clock_that_jumps_by_a_year_lets_no_container_end_before_it_started(jump: int) -> None:
    made = new_record(source(), User(uid=0, gid=0, groups=()), [], name="app", created_at=1_700_000_000 * 10**9)
    started = dataclasses.replace(made, started_at=1_700_000_001 * 10**9, pid=7)
    ended = exited(
        started, TaskExit(container_id=made.id, exec_id="", pid=7, exit_code=0, exited_at=1_700_000_002.0 + jump)
    )
    assert ended.created_at <= ended.started_at <= ended.finished_at
