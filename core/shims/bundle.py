"""The directory of one sandbox below the daemon's state directory.

    <state>/sandboxes/<sandbox id>/   0700, or 0710 for the group of the pod's own user namespace
      sandbox.json                    the OCI runtime of its containers; before the shim is forked
      shim.sock                       0600, bound by the daemon: connecting works before the shim runs
      streams.sock                    0600, see core/shim/streams.py; by the shim
      shim.json                       who the shim is; by the shim, when it is ready, or for one that is not ours
      log.counts                      see core/shim/log_counts.py; by the shim
      ns/{net,ipc,uts,user,pid}       pinned namespaces; by the shim
      ns.json                         their inodes; when all are there
      shm/                            the pod's /dev/shm; by the shim
      containers/<container id>       link to its bundle; before the container is created
      io/<container id>/              FIFOs of a container whose shim is not ours

All of it lives in a tmpfs: files are atomic, not synced. A crash anywhere leaves a directory whose name says what to
undo, and `containers/` says which containers may run though nobody knows them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from core.errdefs import AlreadyExists, NotFound
from core.files.atomic import write_atomic
from core.files.dirs import make_dirs, remove_tree
from core.files.versioned import decode_versioned
from core.linux.ns import is_pinned
from core.linux.pidfd import ProcessIdentity
from core.shim.namespaces import remove_namespaces
from core.shims.foreign import Endpoint

T = TypeVar("T")

VERSION = 1
"""Of sandbox.json and shim.json, which may have been written by an older crispd, or by a newer one."""

NAMESPACES: Mapping[str, str] = {"network": "net", "ipc": "ipc", "uts": "uts", "user": "user", "pid": "pid"}
"""OCI runtime-spec namespace types and the files that pin them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The OCI runtime behind a runtime handler."""

    binary: str
    """Absolute path of crun or runc."""
    root: str = ""
    """Its state directory; "" for its default."""
    systemd_cgroup: bool = False
    infra_image: str = ""
    """Reference of the image of the pods' root containers; "" for pods without."""
    shim: str = ""
    """Absolute path of a shim that is not ours, "" for ours."""
    snapshotter: str = ""
    """By its name, in which the pod's images are unpacked and its containers stand; "" for the node's default."""


class _SandboxFile(msgspec.Struct, frozen=True):
    runtime: Runtime
    version: int = VERSION


class _ShimFile(msgspec.Struct, frozen=True):
    pid: int
    start_time: int
    boot_id: str
    version: int = VERSION
    socket: str = ""
    """Where it answers, "" for shim.sock."""
    task_api: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxDir:
    """All calls block, as far as a tmpfs does."""

    path: str

    @property
    def socket(self) -> str:
        return f"{self.path}/shim.sock"

    @property
    def streams(self) -> str:
        """Where the shim hands out streams: `core.shim.streams`."""
        return f"{self.path}/streams.sock"

    @property
    def shm(self) -> str:
        return f"{self.path}/shm"

    def io(self, container_id: str) -> str:
        """Where the FIFOs of the container are, when its shim is not ours."""
        return f"{self.path}/io/{container_id}"

    def namespace(self, kind: str) -> str:
        """The path that pins namespace `kind`, a key of NAMESPACES."""
        return f"{self.path}/ns/{NAMESPACES[kind]}"

    def make(self, runtime: Runtime, group: int | None = None) -> None:
        """Make the directory; `group` may pass through it. Raises AlreadyExists."""
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError as exc:
            raise AlreadyExists(f"sandbox directory {self.path}: remove the sandbox first") from exc
        if group is not None:
            os.chown(self.path, -1, group)
            os.chmod(self.path, 0o710)
        make_dirs(f"{self.path}/containers", 0o700)
        record = msgspec.json.encode(_SandboxFile(runtime=runtime))
        write_atomic(f"{self.path}/sandbox.json", record, durable=False)

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def runtime(self) -> Runtime:
        """Raises NotFound when a crash came before it was written, or it makes no sense."""
        return self._read("sandbox.json", _SandboxFile).runtime

    def shim(self) -> ProcessIdentity:
        """Raises NotFound when the shim has never been ready."""
        record = self._read("shim.json", _ShimFile)
        return ProcessIdentity(pid=record.pid, start_time=record.start_time, boot_id=record.boot_id)

    def write_shim(self, shim: ProcessIdentity, endpoint: Endpoint) -> None:
        """Remember a shim that does not do so itself."""
        record = _ShimFile(
            pid=shim.pid,
            start_time=shim.start_time,
            boot_id=shim.boot_id,
            socket=endpoint.socket,
            task_api=endpoint.task_api,
        )
        write_atomic(f"{self.path}/shim.json", msgspec.json.encode(record), durable=False)

    def endpoint(self) -> Endpoint:
        """Where the shim answers, or is going to."""
        try:
            record = self._read("shim.json", _ShimFile)
        except NotFound:
            return Endpoint(socket=self.socket, task_api=3)
        return Endpoint(socket=record.socket or self.socket, task_api=record.task_api)

    def add_container(self, container_id: str, bundle: str) -> None:
        """Remember that `container_id` may run from now on. Idempotent."""
        with contextlib.suppress(FileExistsError):
            os.symlink(bundle, f"{self.path}/containers/{container_id}")

    def forget_container(self, container_id: str) -> None:
        """Success when it is not known."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.path}/containers/{container_id}")

    def containers(self) -> dict[str, str]:
        """Bundles of the containers that may run, by id."""
        try:
            names = os.listdir(f"{self.path}/containers")
        except FileNotFoundError:
            return {}
        return {name: os.readlink(f"{self.path}/containers/{name}") for name in names}

    def note_namespaces(self) -> None:
        """Remember which namespaces are pinned now, for `pinned` to know others in their places."""
        write_atomic(f"{self.path}/ns.json", msgspec.json.encode(self._namespaces()), durable=False)

    def pinned(self) -> bool:
        """Whether every namespace of the sandbox is still there: not just the file that it was mounted on, and no other
        namespace in its place (hazards 3.23). An earlier crispd may have noted none."""
        found = self._namespaces()
        try:
            return 0 not in found.values() and self._read("ns.json", dict[str, int]) == found
        except NotFound:
            return 0 not in found.values() and self.exists()

    def _namespaces(self) -> dict[str, int]:
        """Inodes by name, 0 of what is no namespace; nothing for a pod that shares none."""
        directory = f"{self.path}/ns"
        try:
            paths = {name: f"{directory}/{name}" for name in os.listdir(directory)}
            return {name: os.stat(path).st_ino if is_pinned(path) else 0 for name, path in paths.items()}
        except FileNotFoundError:
            return {}

    def release(self) -> None:
        """Unpin the namespaces and unmount `shm`. Idempotent."""
        remove_namespaces(f"{self.path}/ns", self.shm)

    def remove(self) -> None:
        """Release and remove the directory. Success when it is gone."""
        self.release()
        remove_tree(self.path)

    def _read(self, name: str, kind: type[T]) -> T:
        """Raises NotFound (none, or one that makes no sense), FailedPrecondition (a newer crispd has written it)."""
        try:
            with open(f"{self.path}/{name}", "rb") as file:
                return decode_versioned(file.read(), kind, VERSION, file.name)
        except (FileNotFoundError, msgspec.MsgspecError) as exc:
            raise NotFound(f"{self.path}/{name}: {exc}") from exc
