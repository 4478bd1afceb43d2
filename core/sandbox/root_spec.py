"""The OCI spec of a pod's root container: a process that does nothing, in namespaces that the pod's others join.

What shims of sandboxed runtimes look for in it, annotations above all, is as containerd writes it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.errdefs import InvalidArgument
from core.images.images import Image
from core.oci import capabilities, paths
from core.oci.cgroups import cgroups_path
from core.oci.runtime import VERSION, Linux, Mount, Namespace, Process, Root, Spec
from core.oci.runtime import User as OciUser
from core.oci.seccomp import runtime_default
from core.oci.user import User
from core.sandbox.controller import NamespaceMode, SandboxSpec

CPU_SHARES = 2
"""The least that there is: it sleeps."""
OOM_SCORE = -998
"""As both peers: the pod ends with it."""

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CLOSED = ["nosuid", "noexec", "nodev"]
_NOTHING = capabilities.sets(frozenset(), frozenset(), root=False)


def image_user(image: Image) -> str:
    """USER of the image's config."""
    return str(_config(image).get("User") or "")


def root_spec(
    spec: SandboxSpec, image: Image, user: User, *, netns: str, shm: str, systemd: bool, oom_floor: int
) -> bytes:
    """config.json. `netns` pins the pod's network namespace, `shm` is its /dev/shm; "" where the pod uses the node's.

    Raises InvalidArgument (an image without a command, the cgroup parent).
    """
    document = Spec(
        ociVersion=VERSION,
        process=_process(image, user, oom_floor),
        root=Root(path="rootfs", readonly=True),
        mounts=_mounts(shm),
        annotations=dict(spec.annotations),
        linux=_linux(spec, netns, systemd=systemd),
    )
    if spec.hostname:
        document["hostname"] = spec.hostname
    return msgspec.json.encode(document)


def _process(image: Image, user: User, oom_floor: int) -> Process:
    config = _config(image)
    command = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    if not command:
        raise InvalidArgument(f"infra_image {', '.join(image.names)}: it names no command")
    return Process(
        terminal=False,
        user=OciUser(uid=user.uid, gid=user.gid, additionalGids=list(user.groups)),
        args=command,
        env=[_PATH, *(config.get("Env") or ())],
        cwd=config.get("WorkingDir") or "/",
        capabilities=_NOTHING,
        noNewPrivileges=True,
        oomScoreAdj=max(OOM_SCORE, oom_floor),
    )


def _config(image: Image) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(image.config).get("config") or {}
    return found


def _mounts(shm: str) -> list[Mount]:
    mounts = [
        Mount(destination="/proc", type="proc", source="proc", options=_CLOSED),
        Mount(destination="/dev", type="tmpfs", source="tmpfs", options=["nosuid", "mode=755", "size=64k"]),
    ]
    if shm:
        mounts.append(Mount(destination="/dev/shm", type="bind", source=shm, options=["rbind", "ro", *_CLOSED]))  # noqa: S108
    return mounts


def _linux(spec: SandboxSpec, netns: str, *, systemd: bool) -> Linux:
    own = {
        "mount": True,
        "ipc": spec.ipc is NamespaceMode.POD,
        "uts": bool(spec.hostname),
        "pid": spec.pid is not NamespaceMode.NODE,
    }
    namespaces = [Namespace(type=kind) for kind, wanted in own.items() if wanted]
    if netns:
        namespaces.append(Namespace(type="network", path=netns))
    return Linux(
        cgroupsPath=cgroups_path(spec.cgroup_parent, spec.id, systemd=systemd),
        namespaces=namespaces,
        resources={"cpu": {"shares": CPU_SHARES}, "devices": [{"allow": False, "access": "rwm"}]},
        devices=[],
        rootfsPropagation="rslave",
        maskedPaths=list(paths.MASKED),
        readonlyPaths=list(paths.READONLY),
        seccomp=runtime_default(frozenset()),
        sysctl=dict(spec.sysctls),
    )
