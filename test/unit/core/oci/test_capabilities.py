from __future__ import annotations

import pytest

from core.errdefs import InvalidArgument
from core.oci.capabilities import DEFAULT, grant, sets

NODE = DEFAULT | {"CAP_SYS_ADMIN"}


def granted(add: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> frozenset[str]:
    return grant(add, drop, available=NODE)


def test_a_capability_that_is_added_and_dropped_is_dropped() -> None:
    assert "CAP_KILL" not in granted(add=("KILL",), drop=("KILL",))


def test_all_acts_before_the_named_ones() -> None:
    assert granted(add=("KILL",), drop=("ALL",)) == {"CAP_KILL"}
    assert granted(add=("ALL",), drop=("KILL",)) == NODE - {"CAP_KILL"}


def test_names_are_taken_in_any_case_and_with_or_without_prefix() -> None:
    assert granted(add=("sys_admin",)) == granted(add=("CAP_SYS_ADMIN",)) == DEFAULT | {"CAP_SYS_ADMIN"}


@pytest.mark.parametrize("name", ["CAP_NOTHING", "", "SYS_MODULE"])
def test_what_is_unknown_or_not_ours_to_give_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        granted(add=(name,))


def test_nothing_is_inheritable_unless_ambient() -> None:
    """CVE-2022-24769."""
    assert sets(DEFAULT, frozenset(), root=True)["inheritable"] == []
