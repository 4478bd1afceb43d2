"""What is on a node without an owner: of each kind, what bears the id of nothing that the daemon lists.

The node must be alone in its PID, mount and network namespaces.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cri import api
from rig.cgroups import inside
from rig.cri_client import CriClient
from rig.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What was there before, and is nobody's concern."""

    processes: frozenset[int]
    blobs: frozenset[str]
    """And committed snapshots: of the images that stay."""

    @classmethod
    def of(cls, node: Node) -> Baseline:
        return cls(processes=frozenset(_processes()), blobs=frozenset(_content(node)))


def strays(node: Node, client: CriClient, before: Baseline) -> list[str]:
    pods = {pod.id: pod for pod in client.ListPodSandbox(api.ListPodSandboxRequest()).items}
    ready = {id_ for id_, pod in pods.items() if pod.state == api.PodSandboxState.SANDBOX_READY}
    containers = {one.id for one in client.ListContainers(api.ListContainersRequest()).containers}
    return [
        *_directories(node, pods, containers),
        *(str(path) for path in _attachments(node) if path.stem not in ready),
        *(f"address {path}" for path in node.base.glob("ipam/*/*.*.*.*") if _owner_of(path) not in ready),
        *(name for name in _snapshots(node) if name not in containers),
        *_content(node) - before.blobs,
        *(line for line in _mounts(node) if not any(id_ in line for id_ in (*pods, *containers))),
        *_unowned_processes(node, before, pods),
        *(str(path) for path in inside(f"/{node.cgroup}") if path.name not in containers),
        *_links(len(ready)),
    ]


def _directories(node: Node, pods: Iterable[str], containers: Iterable[str]) -> list[str]:
    kinds = {
        "run/sandboxes": pods,
        "run/etc": pods,
        "run/records/sandbox": pods,
        "run/containers": containers,
        "run/records/container": containers,
        "root/volumes": containers,
    }
    found = ((path, owners) for kind, owners in kinds.items() for path in (node.base / kind).glob("*"))
    return [str(path) for path, owners in found if path.name not in owners]


def _attachments(node: Node) -> list[Path]:
    return [*node.base.glob("root/leases/*.json"), *node.base.glob("root/cni/*/*.json")]


def _owner_of(address: Path) -> str:
    """The pod that host-local has given an address to."""
    return address.read_text().split()[0]


def _snapshots(node: Node) -> list[str]:
    """Staged ones, and those that belong to containers."""
    directory = node.base / "root/snapshots"
    staged = [path.name for path in directory.glob("*") if path.name.startswith(("new-", "rm-"))]
    return staged + [meta["name"] for meta in _metas(node) if meta["kind"] != "committed"]


def _content(node: Node) -> set[str]:
    """Names of blobs and of the snapshots of layers."""
    blobs = {path.name for path in node.base.glob("root/content/blobs/*/*")}
    return blobs | {meta["name"] for meta in _metas(node) if meta["kind"] == "committed"}


def _metas(node: Node) -> list[dict[str, str]]:
    found = []
    for path in node.base.glob("root/snapshots/*/meta.json"):
        try:
            found.append(json.loads(path.read_text()))
        except FileNotFoundError:  # it is being removed
            continue
    return found


def _mounts(node: Node) -> list[str]:
    lines = Path("/proc/mounts").read_text().splitlines()
    return [line for line in lines if line.split()[1].startswith(str(node.base))]


def _unowned_processes(node: Node, before: Baseline, pods: Iterable[str]) -> list[str]:
    """Those of pods descend from the pod's shim, which tells its id; others are the daemon's, or strays."""
    assert node.process
    found = _processes()
    owners = {pid for pid, (_, command) in found.items() if any(id_ in command for id_ in pods)} | {node.process.pid}
    return [
        f"process {pid} {command}"
        for pid, (_, command) in found.items()
        if pid not in before.processes and not _descends(pid, owners, found)
    ]


def _descends(pid: int, ancestors: set[int], processes: dict[int, tuple[int, str]]) -> bool:
    while pid in processes and pid not in ancestors:
        pid = processes[pid][0]
    return pid in ancestors


def _processes() -> dict[int, tuple[int, str]]:
    """By pid: parent and command line, of all but zombies, which are as good as gone."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
        if state != "Z":
            found[int(entry.name)] = (int(parent), command)
    return found


def _links(wanted: int) -> list[str]:
    links = [name for _, name in socket.if_nameindex() if name.startswith("veth")]
    return [] if len(links) == wanted else [f"{len(links)} links for {wanted} pods: {links}"]
