"""What every content store does; `test_*` below are the sentences of core/content/content.py."""

import hashlib
import threading

import pytest

from core.content.content import ContentStore
from core.content.local import LocalContent
from core.errdefs import DataLoss, NotFound, ResourceExhausted, Unavailable
from core.types import digest

DATA = b"layer bytes" * 1000
DIGEST = digest("sha256:" + hashlib.sha256(DATA).hexdigest())
DIGEST_512 = digest("sha512:" + hashlib.sha512(DATA).hexdigest())


@pytest.fixture(params=[LocalContent])
def reopen(request, tmp_path):
    """Opens the store again, as after a restart."""
    return lambda: request.param(str(tmp_path / "content"))


@pytest.fixture
def store(reopen) -> ContentStore:
    return reopen()


def put(store, data=DATA, ref="ref", name=DIGEST):
    writer = store.writer(ref)
    writer.write(data)
    writer.commit(len(data), name)


def test_a_committed_blob_is_found_by_its_digest(store):
    put(store)
    assert store.info(DIGEST).size == len(DATA)
    assert store.read(DIGEST, limit=len(DATA)) == DATA
    with open(store.path(DIGEST), "rb") as blob:
        assert blob.read() == DATA
    assert [info.digest for info in store.walk()] == [DIGEST]
    assert list(store.ingests()) == []


def test_sha512_is_an_algorithm_too(store):
    put(store, name=DIGEST_512)
    assert store.read(DIGEST_512, limit=1 << 20) == DATA


def test_what_is_not_there_is_not_found(store):
    for ask in (store.info, store.path, store.delete, lambda name: store.read(name, limit=1)):
        with pytest.raises(NotFound, match=DIGEST):
            ask(DIGEST)
    with pytest.raises(NotFound):
        store.remove_ingest("ref")


def test_reading_more_than_the_limit_is_refused(store):
    put(store)
    with pytest.raises(ResourceExhausted):
        store.read(DIGEST, limit=len(DATA) - 1)


def test_an_ingest_goes_on_after_a_restart(store, reopen):
    writer = store.writer("ref")
    writer.write(DATA[:100])
    writer.close()
    again = reopen()
    assert [(status.ref, status.offset) for status in again.ingests()] == [("ref", 100)]
    writer = again.writer("ref")
    assert writer.offset == 100
    writer.write(memoryview(DATA)[100:])
    writer.commit(-1, DIGEST)
    assert again.read(DIGEST, limit=1 << 20) == DATA


def test_commit_with_wrong_digest_removes_the_ingest(store):
    writer = store.writer("ref")
    writer.write(DATA + b"!")
    with pytest.raises(DataLoss, match=DIGEST):
        writer.commit(-1, DIGEST)
    assert list(store.ingests()) == list(store.walk()) == []
    assert store.writer("ref").offset == 0


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, 0])
def test_commit_with_wrong_size_removes_the_ingest(store, size):
    writer = store.writer("ref")
    writer.write(DATA)
    with pytest.raises(DataLoss, match=f"expected {size}"):
        writer.commit(size, DIGEST)
    assert list(store.ingests()) == list(store.walk()) == []


def test_a_ref_has_one_writer_at_a_time(store):
    writer = store.writer("ref")
    with pytest.raises(Unavailable):
        store.writer("ref")
    with pytest.raises(Unavailable):
        store.remove_ingest("ref")
    other = store.writer("another ref")
    writer.close()
    writer.close()
    store.writer("ref").abort()
    other.abort()
    other.abort()
    assert list(store.ingests()) == []


def test_committing_what_exists_is_success(store):
    put(store)
    put(store, ref="again")
    assert len(list(store.walk())) == 1
    assert list(store.ingests()) == []


def test_a_follower_reads_the_growing_file_through_its_commit(store):
    writer = store.writer("ref")
    writer.write(DATA[:10])
    with open(writer.path, "rb") as follower:
        assert follower.read() == DATA[:10]
        writer.write(DATA[10:])
        writer.commit(len(DATA), DIGEST)
        assert follower.read() == DATA[10:]


def test_a_deleted_blob_is_gone(store):
    put(store)
    store.delete(DIGEST)
    assert list(store.walk()) == []


def test_an_abandoned_ingest_can_be_removed(store):
    writer = store.writer("../../etc/passwd")
    writer.write(b"x")
    writer.close()
    store.remove_ingest("../../etc/passwd")
    assert list(store.ingests()) == []


def test_of_many_writers_at_once_one_wins_and_nothing_tears(store):
    committed = []

    def race():
        for _ in range(50):
            try:
                writer = store.writer("ref")
            except Unavailable:
                continue
            writer.write(DATA)
            writer.commit(len(DATA), DIGEST)
            committed.append(1)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert committed
    assert store.read(DIGEST, limit=1 << 20) == DATA
    assert list(store.ingests()) == []
