from __future__ import annotations

import pytest

from core.errdefs import InvalidArgument
from core.oci.rlimits import parse_rlimit

NONE = 2**64 - 1


@pytest.mark.parametrize(
    ("text", "kind", "soft", "hard"),
    [
        ("nofile=1024:4096", "RLIMIT_NOFILE", 1024, 4096),
        ("core=0", "RLIMIT_CORE", 0, 0),
        ("memlock=-1", "RLIMIT_MEMLOCK", NONE, NONE),
        ("nproc=100:unlimited", "RLIMIT_NPROC", 100, NONE),
    ],
)
def test_limits_are_read_as_people_write_them(text: str, kind: str, soft: int, hard: int) -> None:
    assert parse_rlimit(text) == {"type": kind, "soft": soft, "hard": hard}


@pytest.mark.parametrize(
    "text", ["", "nofile", "nofile=", "nofile=a", "x=1", "nofile=2:1", "nofile=-2", "core=0:1:2"]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="ulimit"):
        parse_rlimit(text)
