"""What a store shows, and what it tells of changes, also when the disk fails."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from core.errdefs import ResourceExhausted
from cri import api
from cri.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    id: str
    name: str = ""
    labels: dict[str, str] = field(default_factory=dict)


class Records:
    """A record store that can be full."""

    def __init__(self):
        self.full = False

    def put(self, *records, durable=False):
        if self.full:
            raise ResourceExhausted("disk full")

    def delete(self, *keys):
        pass

    def load(self, kind):
        return []


@pytest.fixture
def records():
    return Records()


@pytest.fixture
def store(records):
    with ThreadPoolExecutor(1) as executor:
        yield Store("thing", Thing, lambda thing: api.Container(id=thing.id), records, executor)


@pytest.fixture
def changes(store):
    seen = []
    store.subscribe(lambda before, after: seen.append((before and before.name, after and after.name)))
    return seen


async def test_changes_are_told_once_in_the_order_in_which_they_become_visible(store, changes):
    first = asyncio.ensure_future(store.put(Thing(id="a", name="one")))
    second = asyncio.ensure_future(store.put(Thing(id="a", name="two")))
    await asyncio.gather(first, second)
    await store.delete("a")
    await store.delete("a")
    assert changes == [(None, "one"), ("one", "two"), ("two", None)]


async def test_a_new_value_that_cannot_be_written_is_gone_again(store, records, changes):
    records.full = True
    with pytest.raises(ResourceExhausted):
        await store.put(Thing(id="a", name="one"))
    assert (store.find("a"), store.reply()) == (None, b"")
    assert changes == [(None, "one"), ("one", None)]


async def test_a_change_that_cannot_be_written_is_shown_all_the_same(store, records):
    await store.put(Thing(id="a", name="running"))
    records.full = True
    with pytest.raises(ResourceExhausted):
        await store.put(Thing(id="a", name="exited"))
    assert store.get("a").name == "exited"
