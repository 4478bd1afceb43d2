import pytest

from core.errdefs import NotFound
from core.images.images import Image
from core.images.lookup import find_image
from core.types import Descriptor, Digest
from rig.image_store import MemoryImages


def image(digit, *names):
    digest = Digest("sha256:" + digit * 64)
    target = Descriptor(media_type="x", digest=digest, size=1)
    return Image(id=digest, target=target, names=names, layers=(), chain_ids=(), config=b"", size=1, created_at=0)


@pytest.fixture
def images():
    store = MemoryImages()
    store.put(image("a"), ["docker.io/library/busybox:latest", "docker.io/library/busybox@sha256:" + "e" * 64])
    store.put(image("b"), ["docker.io/library/sha256:" + "a" * 64])
    return store


@pytest.mark.parametrize(
    "name",
    [
        "busybox",
        "busybox:latest",
        "docker.io/busybox",
        "docker.io/library/busybox:latest",
        "busybox:any@sha256:" + "e" * 64,
        "sha256:" + "a" * 64,
    ],
)
def test_all_forms_of_a_name_find_the_image(images, name):
    assert find_image(images, name).id[-1] == "a"


@pytest.mark.parametrize("name", ["busybox:1", "quay.io/busybox", "Nothing at all", "", "sha256:" + "c" * 64])
def test_what_is_not_here_is_not_found(images, name):
    with pytest.raises(NotFound):
        find_image(images, name)
