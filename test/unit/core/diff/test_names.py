import pytest

from core.diff.names import parts


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a/b", [b"a", b"b"]),
        (b"./a//b/", [b"a", b"b"]),
        (b"/a", [b"a"]),
        (b"../../x", [b"x"]),
        (b"a/../../b/./c/..", [b"b"]),
        (b"..a/...", [b"..a", b"..."]),
        (b"/", []),
        (b".", []),
        (b"", []),
    ],
)
def test_a_name_is_resolved_by_its_text_and_stops_at_the_root(name, expected):
    assert parts(name) == expected
