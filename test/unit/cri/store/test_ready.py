"""Status bytes that are made once for each state of a record."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from cri import api
from cri.store.ready import Ready
from cri.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    id: str
    name: str = ""
    labels: dict[str, str] = field(default_factory=dict)


class Records:
    def put(self, *records, durable=False):
        pass

    def delete(self, *keys):
        pass


@pytest.fixture
def store():
    with ThreadPoolExecutor(1) as executor:
        yield Store("thing", Thing, lambda thing: api.Container(id=thing.id), Records(), executor)


async def test_a_status_is_made_once_until_its_record_changes(store):
    made = Counter()

    def make(thing):
        made[thing.name] += 1
        return api.Container(id=thing.name)

    ready = Ready(store, make)
    await store.put(Thing(id="a", name="one"))
    assert [ready.of(store.get("a")) for _ in range(2)] == [api.Container(id="one").SerializeToString()] * 2
    await store.put(replace(store.get("a"), name="two"))
    assert ready.of(store.get("a")) == api.Container(id="two").SerializeToString()
    assert made == {"one": 1, "two": 1}


async def test_nothing_is_kept_of_a_record_that_is_gone(store):
    ready = Ready(store, lambda thing: api.Container(id=thing.id))
    await store.put(Thing(id="a"))
    ready.of(store.get("a"))
    await store.delete("a")
    assert not ready._made
