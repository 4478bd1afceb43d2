"""What a pod may ask for as its user namespace."""

from __future__ import annotations

from typing import Any

import pytest

from core.errdefs import InvalidArgument
from cri import api
from cri.user_namespace import user_namespace

Modes = api.NamespaceMode
FIRST = 300_000


def line(**changes: int) -> api.IDMapping:
    return api.IDMapping(**{"host_id": FIRST, "container_id": 0, "length": 65536, **changes})


def options(*lines: api.IDMapping, mode: int = Modes.POD, **other: int) -> api.NamespaceOption:
    return api.NamespaceOption(userns_options=api.UserNamespace(mode=mode, uids=lines, gids=lines), **other)


def test_one_mapping_from_zero_makes_one() -> None:
    found = user_namespace(options(line()))
    assert found is not None
    assert found.root == (FIRST, FIRST)
    assert (found.uids.container_id, found.gids.length) == (0, 65536)


@pytest.mark.parametrize("options", [api.NamespaceOption(), options(mode=Modes.NODE)])
def test_without_one_the_users_are_the_nodes(options: api.NamespaceOption) -> None:
    assert user_namespace(options) is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (options(), "want one mapping, not 0"),
        (options(line(length=10), line(container_id=10, length=10)), "want one mapping, not 2"),
        (options(line(container_id=1)), "want one or more"),
        (options(line(length=0)), "want one or more"),
        (options(line(host_id=2**32 - 10)), "want one or more"),
        (options(line(), mode=Modes.CONTAINER), "want POD or NODE"),
        (options(line(), mode=Modes.TARGET), "want POD or NODE"),
        (options(line(), mode=Modes.NODE), "NODE has no mappings"),
        (options(line(), pid=Modes.NODE), "namespace_options.pid"),
        (options(line(), ipc=Modes.NODE), "namespace_options.ipc"),
    ],
)
def test_anything_else_is_refused_by_name(options: Any, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        user_namespace(options)
