"""What every ImageStore does."""

import dataclasses

import pytest

from core.errdefs import InvalidArgument, NotFound
from core.images.images import Image
from core.metadata.database import Database
from core.metadata.images import SqliteImages
from core.types import Descriptor, Platform, digest

TAG = "docker.io/library/busybox:1.36"
OTHER = "docker.io/library/busybox:latest"


def image(fill: str, head: str = "") -> Image:
    image_id = digest(f"sha256:{(head + fill * 64)[:64]}")
    layer = Descriptor(media_type="layer", digest=digest("sha256:" + "1" * 64), size=3, annotations={"a": "b"})
    platform = Platform(os="linux", architecture="arm64", variant="v8")
    return Image(
        id=image_id,
        target=Descriptor(media_type="manifest", digest=image_id, size=7, platform=platform),
        names=(),
        layers=(layer,),
        chain_ids=("sha256:" + "2" * 64,),
        config=b'{"a": "\xc3\xa4"}\xff',
        size=10,
        created_at=1.5,
        annotations={"k": "v"},
        pinned=True,
    )


@pytest.fixture(params=["sqlite"])
def reopen(request, tmp_path):
    databases: list[Database] = []

    def open_again() -> SqliteImages:
        for database in databases:
            database.close()
        databases.append(Database(str(tmp_path / "metadata.db")))
        return SqliteImages(databases[-1])

    yield open_again
    for database in databases:
        database.close()


def test_an_image_comes_back_as_it_was_put(reopen):
    stored = reopen().put(image("a"), [TAG])
    assert stored == dataclasses.replace(image("a"), names=(TAG,))
    store = reopen()
    assert store.list() == (stored,)
    assert store.get(TAG) == stored


def test_an_image_is_found_by_name_id_and_prefix(reopen):
    store = reopen()
    stored = store.put(image("a"), [TAG])
    for ref in (TAG, stored.id, "a" * 64, "aaaa", "sha256:aaaaaa"):
        assert store.get(ref) == stored


@pytest.mark.parametrize("ref", ["aaa", "", "sha256:", "aaab", "busybox", "AAAA"])
def test_what_names_no_image_is_not_found(reopen, ref):
    store = reopen()
    store.put(image("a"), [TAG])
    with pytest.raises(NotFound):
        store.get(ref)


def test_an_ambiguous_prefix_is_refused(reopen):
    store = reopen()
    store.put(image("a", "ffff"), [])
    store.put(image("b", "ffff"), [])
    with pytest.raises(InvalidArgument, match="2 images"):
        store.get("ffff")
    assert store.get("ffffa").id == image("a", "ffff").id


def test_a_name_moves_to_the_image_that_was_put_last(reopen):
    store = reopen()
    store.put(image("a"), [TAG, OTHER])
    store.put(image("b"), [TAG])
    for each in (store, reopen()):
        assert each.get(TAG).id == image("b").id
        assert each.get(image("a").id).names == (OTHER,)


def test_an_image_without_names_stays(reopen):
    store = reopen()
    store.put(image("a"), [TAG])
    store.put(image("b"), [TAG])
    assert reopen().get(image("a").id).names == ()


def test_putting_an_image_again_keeps_its_names(reopen):
    store = reopen()
    store.put(image("a"), [TAG])
    assert store.put(image("a"), [OTHER, TAG]).names == (TAG, OTHER)


def test_a_removed_image_is_gone_with_its_names(reopen):
    store = reopen()
    stored = store.put(image("a"), [TAG])
    assert store.remove(stored.id) == stored
    for each in (store, reopen()):
        assert each.list() == ()
        with pytest.raises(NotFound):
            each.get(TAG)
    with pytest.raises(NotFound):
        store.remove(stored.id)


def test_an_image_goes_with_its_last_name(reopen):
    store = reopen()
    store.put(image("a"), [TAG, OTHER])
    store.remove_name(TAG)
    assert store.get(OTHER).names == (OTHER,)
    with pytest.raises(NotFound):
        store.get(TAG)
    store.remove_name(OTHER)
    assert store.list() == reopen().list() == ()
    with pytest.raises(NotFound):
        store.remove_name(OTHER)
