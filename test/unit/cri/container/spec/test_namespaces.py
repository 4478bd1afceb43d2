"""Which namespaces a container may ask for, by what its sandbox has."""

from __future__ import annotations

from typing import Any

import pytest

from core.errdefs import InvalidArgument
from cri.container.spec.namespaces import namespaces
from rig.specs import source

LINE = {"host_id": 300_000, "container_id": 0, "length": 65536}
USERS = {"mode": "POD", "uids": [LINE], "gids": [LINE]}
OTHERS = {"mode": "POD", "uids": [{**LINE, "host_id": 400_000}], "gids": [LINE]}


def joined(container: Any, pod: Any, has: str = "network ipc uts pid", **more: Any) -> dict[str, str]:
    """Path by kind of the container's namespaces, "" for one of its own; those that are missing are the node's."""
    options = {"linux": {"security_context": {"namespace_options": container}}}
    of_pod = {"linux": {"security_context": {"namespace_options": pod}}}
    pinned = {kind: f"/ns/{kind}" for kind in has.split()}
    found = namespaces(source(options, of_pod, namespaces=pinned, **more))
    return {one["type"]: one.get("path", "") for one in found if one["type"] not in ("mount", "cgroup")}


@pytest.mark.parametrize(
    ("container", "pod", "has", "kind", "path"),
    [
        ({}, {}, "network", "network", "/ns/network"),
        ({"network": "NODE"}, {"network": "NODE"}, "ipc", "network", None),
        ({}, {"network": "NODE"}, "ipc", "network", None),
        ({}, {}, "ipc", "ipc", "/ns/ipc"),
        ({"ipc": "NODE"}, {"ipc": "NODE"}, "network", "ipc", None),
        ({}, {}, "pid", "pid", "/ns/pid"),
        ({"pid": "CONTAINER"}, {}, "pid", "pid", ""),
        ({"pid": "CONTAINER"}, {"pid": "CONTAINER"}, "network", "pid", ""),
        ({}, {"pid": "CONTAINER"}, "network", "pid", ""),
        ({"pid": "NODE"}, {"pid": "NODE"}, "network", "pid", None),
        ({}, {"pid": "NODE"}, "network", "pid", None),
        ({"pid": "CONTAINER"}, {"pid": "NODE"}, "network", "pid", ""),
        ({"pid": "TARGET", "target_id": "other"}, {"pid": "CONTAINER"}, "network", "pid", "/proc/7/ns/pid"),
        ({"pid": "TARGET", "target_id": "other"}, {}, "pid", "pid", "/proc/7/ns/pid"),
        ({"userns_options": USERS}, {"userns_options": USERS}, "user", "user", "/ns/user"),
        ({}, {"userns_options": USERS}, "user", "user", "/ns/user"),
        ({"userns_options": {"mode": "NODE"}}, {}, "network", "user", None),
    ],
)
def test_what_agrees_is_joined_or_made(
    container: dict[str, Any], pod: dict[str, Any], has: str, kind: str, path: str | None
) -> None:
    assert joined(container, pod, has, target_pid=7).get(kind) == path


@pytest.mark.parametrize(
    ("container", "pod", "why"),
    [
        ({"network": "NODE"}, {}, "network: NODE, but the sandbox has its own"),
        ({"network": "CONTAINER"}, {}, "network: a container's is POD"),
        ({"network": "TARGET", "target_id": "x"}, {}, "network: a container's is POD"),
        ({"ipc": "NODE"}, {}, "ipc: NODE, but the sandbox has its own"),
        ({"ipc": "CONTAINER"}, {}, "ipc: a container's is POD"),
        ({"ipc": "TARGET", "target_id": "x"}, {}, "ipc: a container's is POD"),
        ({"network": 9}, {"network": "NODE"}, "network: a container's is POD"),
        ({"pid": "NODE"}, {}, "pid: NODE, but the sandbox's is not"),
        ({"pid": "NODE"}, {"pid": "CONTAINER"}, "pid: NODE, but the sandbox's is not"),
        ({"pid": 9}, {}, "pid: a container's is"),
        ({"userns_options": OTHERS}, {"userns_options": USERS}, "userns_options: not the same"),
        ({"userns_options": USERS}, {}, "userns_options: not the same"),
        ({"userns_options": {"mode": "NODE"}}, {"userns_options": USERS}, "userns_options: not the same"),
        ({"userns_options": {"mode": "CONTAINER"}}, {"userns_options": USERS}, "want POD or NODE"),
        ({"userns_options": {"mode": "TARGET"}}, {}, "want POD or NODE"),
    ],
)
def test_what_disagrees_is_refused_by_name(container: dict[str, Any], pod: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        joined(container, pod)
