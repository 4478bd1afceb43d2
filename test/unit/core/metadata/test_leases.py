"""Leases and what they hold."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errdefs import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from core.images.blocking import Blocking
from core.images.holds import Holds
from core.metadata import leases as module
from core.metadata.database import Database
from core.metadata.leases import EXPIRE, Leases, Resource
from core.metadata.sqlite_records import SqliteRecords

BLOB = Resource(type="content", id="sha256:" + "1" * 64)
OTHER = Resource(type="content", id="sha256:" + "2" * 64)


class Rig:
    def __init__(self, records, executor):
        self.now = 1000.0
        self.holds = Holds()
        self._records, self._executor = records, executor
        self.leases = Leases(records, self.holds, Blocking(executor), lambda: self.now)

    async def restarted(self):
        again = Rig(self._records, self._executor)
        again.now = self.now
        await again.leases.load()
        return again


@pytest.fixture
def rig(tmp_path):
    database = Database(str(tmp_path / "metadata.db"))
    with ThreadPoolExecutor(1) as executor:
        yield Rig(SqliteRecords(database), executor)
    database.close()


async def test_what_it_has_is_held_over_restarts_until_it_is_deleted(rig):
    await rig.leases.create("a", {"k": "v"})
    await rig.leases.add("a", BLOB)
    await rig.leases.add("a", BLOB)
    again = await rig.restarted()
    assert again.leases.list() == rig.leases.list()
    assert BLOB.id in again.holds
    await again.leases.delete("a")
    assert BLOB.id not in again.holds
    assert (await rig.restarted()).leases.list() == ()


async def test_of_several_leases_each_holds_for_itself(rig):
    for name in "ab":
        await rig.leases.create(name, {})
        await rig.leases.add(name, BLOB)
    await rig.leases.add("a", OTHER)
    await rig.leases.drop("a", BLOB)
    assert BLOB.id in rig.holds
    await rig.leases.delete("b")
    assert BLOB.id not in rig.holds
    assert OTHER.id in rig.holds


async def test_it_goes_when_its_time_is_over(rig):
    await rig.leases.create("a", {EXPIRE: "1970-01-01T00:20:00Z"})
    await rig.leases.add("a", BLOB)
    await rig.leases.expire()
    assert BLOB.id in rig.holds
    rig.now = 1201
    await rig.leases.expire()
    assert BLOB.id not in rig.holds
    assert rig.leases.list() == ()


@pytest.mark.parametrize("text", ["", "tomorrow", "1970-01-01T00:00:00Z"])
async def test_a_time_that_makes_no_sense_is_refused(rig, text):
    with pytest.raises(InvalidArgument, match=EXPIRE):
        await rig.leases.create("a", {EXPIRE: text})
    assert rig.leases.list() == ()


async def test_names_are_taken_once_and_resources_are_limited(rig, monkeypatch):
    monkeypatch.setattr(module, "MAX_RESOURCES", 1)
    await rig.leases.create("a", {})
    with pytest.raises(AlreadyExists):
        await rig.leases.create("a", {})
    await rig.leases.add("a", BLOB)
    with pytest.raises(ResourceExhausted):
        await rig.leases.add("a", OTHER)
    with pytest.raises(NotFound):
        await rig.leases.add("b", OTHER)
