"""What an OCI runtime can do on this kernel, found out by doing it.

`features`, the runtimes' own word, is newer than the crun of Debian 12, and says nothing of the kernel. So a container
with the node's root at /host is run, which prints its mounts, and one in a user namespace, which prints its users:

    <directory>/config.json
    <directory>/rootfs/{dev,host,proc}/   and links to the node's programs below host
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from typing import Any

import msgspec

from core.files.dirs import make_dirs
from core.log import get_logger
from core.oci.runtime import VERSION

log = get_logger(__name__)

DEADLINE = 20.0
"""Seconds: it takes 40 ms, and much longer on a node that is just booting."""
_LINKS = ("bin", "lib", "lib64", "usr")  # what `cat` and its libraries are found by, usr-merged or not


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    recursive_read_only: bool = False
    """Whether the mount option `rro` holds for the mounts below, too; older runtimes ignore it without a word."""
    user_namespaces: bool = False
    """Whether containers can have users of their own; mounts for them are not the runtime's to map."""


async def probe(binary: str, root: str, directory: str, *, users: bool) -> Features:
    """Run containers with the OCI runtime at `binary`, whose state is below `root`, from a bundle at `directory`; a
    user namespace is tried when the node has them (`users`).

    No features when it cannot be run: then nothing else runs, either. Idempotent, whatever an earlier crash left.
    """
    mounts = await _run(binary, root, directory, ["/proc/self/mountinfo"], {})
    mapping = await _run(binary, root, directory, ["/proc/self/uid_map"], _USERS) if users else ""
    return Features(
        recursive_read_only=all_read_only(mounts, "/host"), user_namespaces=mapping.split() == ["0", str(_FIRST), "1"]
    )


async def _run(binary: str, root: str, directory: str, show: list[str], linux: dict[str, Any]) -> str:
    """What a container sees in the files `show`."""
    name = f"crisp-probe-{os.path.basename(directory)}"
    await asyncio.to_thread(_write_bundle, directory, show, {"cgroupsPath": f"/{name}", **_LINUX, **linux})
    await _call(binary, "--root", root, "delete", "--force", name)
    return await _call(binary, "--root", root, "run", "--bundle", directory, name)


def all_read_only(mountinfo: str, place: str) -> bool:
    """Whether there are mounts at and below `place`, and all are read-only: proc_pid_mountinfo(5)."""
    rows = [line.split() for line in mountinfo.splitlines()]
    options = [row[5].split(",") for row in rows if row[4] == place or row[4].startswith(f"{place}/")]
    return len(options) > 1 and all("ro" in of_mount for of_mount in options)


def _write_bundle(directory: str, show: list[str], linux: dict[str, Any]) -> None:
    make_dirs(directory, 0o711)  # the namespace's root passes through here, and lists what is below, which is its own
    for name in ("", "dev", "host", "proc"):
        make_dirs(f"{directory}/rootfs/{name}", 0o711)
        os.chown(f"{directory}/rootfs/{name}", _FIRST, _FIRST)
    for name in _LINKS:
        if not os.path.lexists(f"{directory}/rootfs/{name}"):
            os.symlink(f"host/{name}", f"{directory}/rootfs/{name}")
    with open(f"{directory}/config.json", "wb") as file:
        process = {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["/bin/cat", *show], "env": []}
        file.write(msgspec.json.encode({**_SPEC, "process": process, "linux": linux}))


async def _call(*command: str) -> str:
    """What it wrote; "" when it failed."""
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    except OSError as exc:
        log.warning("runtime does not start", command=command[0], error=exc)
        return ""
    try:
        async with asyncio.timeout(DEADLINE):
            out, said = await process.communicate()  # closes stdin: a runtime may give its streams to the user
    except TimeoutError:
        process.kill()
        out, said = await process.communicate()
    if process.returncode and "delete" not in command:
        log.warning("runtime failed its probe", command=command[0], said=said.decode(errors="replace"))
    return out.decode(errors="replace")


_FIRST = 1 << 16  # the node's user that is root in there: any but 0
_MAPPING = [{"containerID": 0, "hostID": _FIRST, "size": 1}]
_LINUX = {"namespaces": [{"type": "mount"}]}
_USERS = {
    "namespaces": [{"type": kind} for kind in ("mount", "user", "pid")],  # /proc is of a PID namespace that it owns
    "uidMappings": _MAPPING,
    "gidMappings": _MAPPING,
}
_SPEC = {
    "ociVersion": VERSION,
    "root": {"path": "rootfs"},
    "mounts": [
        {"destination": "/proc", "source": "proc", "type": "proc"},
        {"destination": "/dev", "source": "tmpfs", "type": "tmpfs"},
        {"destination": "/host", "source": "/", "type": "bind", "options": ["rbind", "rprivate", "rro"]},
    ],
}
