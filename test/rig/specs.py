"""Requests for containers, and the OCI specs that come of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf.json_format import ParseDict

from core.images.images import Image
from core.linux.cap import NAMES
from core.linux.cgroup import CgroupLayout, Hierarchy
from core.sandbox.controller import Sandbox
from core.types import Descriptor, digest
from cri import api
from cri.container.spec.build import build
from cri.container.spec.identity import effective_user
from cri.container.spec.source import Facts, Source
from cri.store.sandbox import PodSandbox

ID = "sha256:" + "1" * 64
V1 = CgroupLayout(
    controllers={
        name: Hierarchy(mount_point=f"/sys/fs/cgroup/{name}", root="/")
        for name in ("cpu", "cpuset", "memory", "devices", "hugetlb", "pids")
    },
    unified=None,
    unified_controllers=frozenset(),
)
V2 = CgroupLayout(
    controllers={},
    unified=Hierarchy(mount_point="/sys/fs/cgroup", root="/"),
    unified_controllers=frozenset({"cpu", "cpuset", "memory", "pids", "hugetlb"}),
)


def facts(layout: CgroupLayout = V2, **changes: Any) -> Facts:
    """A node that can do everything, unless `changes` say otherwise."""
    node = {
        "layout": layout,
        "swap": True,
        "oom_score_floor": -1000,
        "capabilities": frozenset(NAMES),
        "apparmor": False,
        "selinux": False,
    }
    return Facts(**{**node, **changes})


def source(
    config: dict[str, Any] | None = None,
    pod: dict[str, Any] | None = None,
    image: dict[str, Any] | None = None,
    *,
    namespaces: dict[str, str] | None = None,
    shm: str = "/run/crisp/sandboxes/pod1/shm",
    rootfs: str = "/nonexistent",
    **changes: Any,
) -> Source:
    """The source of a container from CRI's messages as JSON (proto field names) and the image's `config`."""
    pinned = {kind: f"/run/crisp/sandboxes/pod1/ns/{kind}" for kind in ("network", "ipc", "uts", "pid")}
    pod_config = ParseDict(
        {"metadata": {"name": "web", "namespace": "default", "uid": "u1"}, "hostname": "web-1", **(pod or {})},
        api.PodSandboxConfig(),
    )
    container = ParseDict(
        {"metadata": {"name": "app"}, "image": {"image": "example.org/app:1"}, **(config or {})},
        api.ContainerConfig(),
    )
    sandbox = Sandbox(id="pod1", pid=1, namespaces=pinned if namespaces is None else namespaces, created_at=0, shm=shm)
    fields = {
        "container_id": "ctr1",
        "paths": {mount.container_path: mount.host_path for mount in container.mounts},
        "config": container,
        "pod": PodSandbox(id="pod1", name="web", config=b"", runtime_handler="", created_at=0, sandbox=sandbox),
        "pod_config": pod_config,
        "image": Image(
            id=digest(ID),
            target=Descriptor(media_type="", digest=digest(ID), size=0),
            names=(),
            layers=(),
            chain_ids=(),
            config=b"{}",
            size=0,
            created_at=0,
        ),
        "image_config": {"Cmd": ["/bin/app"], **(image or {})},
        "rootfs": rootfs,
        "etc": "/run/crisp/etc/pod1",
        "systemd_cgroup": False,
        "pod_annotations": (),
        "ulimits": (),
        "cdi_dirs": (),
        "blockio_file": "",
        "device_ownership": False,
        "target_pid": 0,
        "facts": facts(),
    }
    return Source(**{**fields, **changes})


def spec(source: Source, volumes: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """config.json, decoded. The image's files say who the user is."""
    document: dict[str, Any] = json.loads(msgspec.json.encode(build(source, effective_user(source), volumes)))
    return document


def write_etc(root: Path, *, passwd: str = "", group: str = "") -> str:
    """A root directory with these files; returns its path."""
    os.makedirs(root / "etc")
    (root / "etc/passwd").write_text(passwd)
    (root / "etc/group").write_text(group)
    return str(root)
