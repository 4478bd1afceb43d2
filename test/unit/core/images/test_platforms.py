import pytest

from core.errdefs import NotFound
from core.images.platforms import candidates, host_platform
from core.types import Descriptor, Digest, Platform


def offer(*platforms):
    return [
        Descriptor(
            media_type="x",
            digest=Digest(f"sha256:{number:064x}"),
            size=1,
            platform=None if text is None else parse(text),
        )
        for number, text in enumerate(platforms)
    ]


def parse(text):
    os, architecture, *variant = text.split("/")
    return Platform(os=os, architecture=architecture, variant="".join(variant))


@pytest.mark.parametrize(
    ("wanted", "offered", "best_first"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64", "windows/amd64"], [1]),
        ("linux/amd64", ["linux/386", "linux/amd64/v3", "linux/amd64/v1"], [2, 0]),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64/v8", "linux/arm/v6"], [1, 0, 2]),
        ("linux/arm64/v8", ["linux/arm64"], [0]),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm", "linux/arm/v8", "linux/arm/v6"], [1, 3, 0]),
        ("linux/s390x", [None, "unknown/unknown", "linux/s390x"], [2, 0]),
    ],
)
def test_what_runs_here_the_best_first(wanted, offered, best_first):
    descriptors = offer(*offered)
    assert candidates(descriptors, parse(wanted)) == [descriptors[number] for number in best_first]


@pytest.mark.parametrize("offered", [[], ["linux/arm64", "unknown/unknown"], ["windows/amd64"]])
def test_nothing_that_runs_here_is_not_found_and_says_what_there_is(offered):
    with pytest.raises(NotFound, match="linux/amd64") as caught:
        candidates(offer(*offered), parse("linux/amd64"))
    assert all(name in str(caught.value) for name in offered if "unknown" not in name)


def test_the_host_is_linux():
    assert host_platform().os == "linux"
