"""What clients keep by labels (containerd docs/garbage-collection.md), without a blob in sight."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errdefs import InvalidArgument
from core.images.blocking import Blocking
from core.images.holds import Holds
from core.metadata.content_labels import MAX_LABEL, MAX_LABELS, ContentLabels
from core.metadata.database import Database
from core.metadata.leases import FLAT, Leases, Resource
from core.metadata.sqlite_records import SqliteRecords
from core.types import digest

A, B, C, D = (digest("sha256:" + fill * 64) for fill in "abcd")
GC = "containerd.io/gc."


@pytest.fixture
def opened(tmp_path):
    """Labels and leases, as a daemon opens them; called again, as the next one does."""
    with ThreadPoolExecutor(1) as executor:
        database = Database(str(tmp_path / "metadata.db"))

        async def open_():
            records, blocking = SqliteRecords(database), Blocking(executor)
            leases = Leases(records, Holds(), blocking, lambda: 0.0)
            await leases.load()
            labels = ContentLabels(records, blocking, leases)
            await labels.load()
            return labels, leases

        yield open_
        database.close()


@pytest.mark.parametrize(
    ("key", "value", "roots", "kept"),
    [
        ("ref.content", B, {A}, {A, B}),
        ("ref.content.l.17", B, {A}, {A, B}),
        ("ref.content", B, {C}, {C}),
        ("ref.contents", B, {A}, {A}),
        ("ref.snapshot.overlayfs", "key", {A}, {A, "key"}),
        ("bref.content.x", B, {B}, {A, B}),
        ("bref.image", "docker.io/library/a:1", {"docker.io/library/a:1"}, {A, "docker.io/library/a:1"}),
        ("bref.container", "id", {"id"}, {A, "id"}),
        ("bref.snapshot.native", "key", {"key"}, {A, "key"}),
        ("root", "2026-01-01T00:00:00Z", set(), {A}),
        ("root", "", set(), set()),
        ("ref.content", A, {A}, {A}),
    ],
)
async def test_a_label_keeps_what_it_says(opened, key, value, roots, kept):
    labels, _ = await opened()
    await labels.put(A, {GC + key: value})
    assert labels.kept(roots, set()) == kept


async def test_references_are_followed_over_restarts_until_their_blob_is_forgotten(opened):
    labels, _ = await opened()
    await labels.put(A, {GC + "root": "now", GC + "ref.content.0": B})
    await labels.put(B, {GC + "ref.content": C})
    await labels.put(C, {GC + "ref.content": A})
    again, _ = await opened()
    assert again.kept(set(), set()) == {A, B, C}
    assert again.get(B) == {GC + "ref.content": C}
    await again.forget([A, D])
    await again.put(B, {})
    again, _ = await opened()
    assert again.kept(set(), set()) == set()
    assert again.kept({C}, set()) == {A, C}


async def test_a_lease_holds_what_its_resources_reference_unless_it_is_flat(opened):
    labels, leases = await opened()
    await labels.put(A, {GC + "ref.content": B})
    await leases.create("flat", {FLAT: "yes"})
    await leases.add("flat", Resource(type="content", id=A))
    assert labels.kept(set(), {A}) == set()
    await leases.create("full", {})
    await leases.add("full", Resource(type="content", id=A))
    assert labels.kept(set(), {A}) == {A, B}


@pytest.mark.parametrize("labels", [{"k": "v" * MAX_LABEL}, {str(n): "" for n in range(MAX_LABELS + 1)}])
async def test_what_is_too_long_or_too_much_is_refused(opened, labels):
    known, _ = await opened()
    with pytest.raises(InvalidArgument):
        await known.put(A, labels)
    assert known.get(A) == {}
