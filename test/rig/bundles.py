"""OCI bundles with a busybox in them."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUSYBOX = "/bin/busybox"  # Debian's busybox-static
CGROUP = f"crisp-test-{uuid.uuid4()}"
"""No other run's: two at once have the same pids, each in a namespace of its own."""


def make_bundle(
    path: Path, command: str, *, namespaces: Mapping[str, str] | None = None, terminal: bool = False, **linux: Any
) -> str:
    """A bundle that runs `command` with sh; `namespaces` are OCI types and paths to join."""
    bin_dir = path / "rootfs" / "bin"
    bin_dir.mkdir(parents=True)
    for name in ("proc", "dev", "tmp"):
        (path / "rootfs" / name).mkdir()
    shutil.copy(BUSYBOX, bin_dir / "busybox")
    for applet in ("sh", "sleep", "echo", "cat", "hostname", "readlink", "kill", "ps", "dd", "stty", "setsid"):
        (bin_dir / applet).symlink_to("busybox")
    document = config(path.name, command, namespaces or {}, linux, terminal=terminal)
    (path / "config.json").write_text(json.dumps(document))
    return str(path)


def config(
    name: str, command: str, join: Mapping[str, str], linux: Mapping[str, Any], *, terminal: bool
) -> dict[str, Any]:
    fresh = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network") if kind not in join]
    joined = [{"type": kind, "path": place} for kind, place in join.items() if kind != "mount"]
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
    ]
    return {
        "ociVersion": "1.0.0",
        "process": process(command, terminal=terminal),
        "root": {"path": "rootfs"},
        "mounts": mounts,
        "linux": {"namespaces": fresh + joined, "cgroupsPath": f"/{CGROUP}/{name}", **linux},
    }


def process(command: str, *, terminal: bool = False) -> dict[str, Any]:
    """An OCI process that runs `command` with sh."""
    return {
        "terminal": terminal,
        "cwd": "/",
        "args": ["/bin/sh", "-c", command],
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
        "capabilities": {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")},
    }
