"""containerd.runtime.sandbox.v1.Sandbox: the pod's namespaces, /dev/shm and init."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable

from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from core.api import crisp_shim_pb2, sandbox_pb2, types_pb2
from core.errdefs import FailedPrecondition
from core.failpoint import failpoint
from core.linux.ns import pin
from core.shim.init import start_init
from core.shim.luggage import Packed
from core.shim.namespaces import FLAGS, make_namespaces, make_shm, remove_namespaces
from core.shim.reaper import Process, Reaper

READY, NOT_READY = "SANDBOX_READY", "SANDBOX_NOTREADY"


class SandboxService:
    """The one sandbox of this shim, in `directory`. `shutdown` ends the process."""

    def __init__(
        self, sandbox_id: str, directory: str, reaper: Reaper, shutdown: Callable[[], None], shim: int
    ) -> None:
        """`shim` is the pid that stands for the pod where it has no init."""
        self._id = sandbox_id
        self._shim = shim
        self._namespaces = os.path.join(directory, "ns")
        self._shm = os.path.join(directory, "shm")
        self._root = os.path.join(directory, "root")
        self._reaper = reaper
        self._shutdown = shutdown
        self._created_at = 0
        self._init: Process | None = None
        self._stopped = asyncio.Event()

    @property
    def created(self) -> bool:
        return self._created_at > 0

    async def create_sandbox(
        self, request: sandbox_pb2.CreateSandboxRequest
    ) -> sandbox_pb2.CreateSandboxResponse:
        """Make what the options ask for. On failure nothing is left. Raises InvalidArgument, OSError."""
        if self._created_at:
            raise FailedPrecondition(f"sandbox {self._id} was created already")
        options = _options(request.options)
        try:
            self._make(options)
            failpoint("shim.sandbox.made")
        except BaseException:
            self._remove()
            raise
        self._created_at = time.time_ns()
        return sandbox_pb2.CreateSandboxResponse()

    def _make(self, options: crisp_shim_pb2.SandboxOptions) -> None:
        wanted = {"net": options.network, "ipc": options.ipc, "uts": options.uts}
        names = [name for name in FLAGS if wanted[name]]
        uids, gids = options.uid_mappings, options.gid_mappings
        if names or uids:
            make_namespaces(
                self._namespaces, names, options.hostname, options.sysctls, uids=uids, gids=gids
            )
        if options.ipc:
            make_shm(self._shm, options.shm_size, _root_of(uids), _root_of(gids))
            failpoint("shim.sandbox.shm")
        if options.pid:
            self._start_init(names, user="user" if uids else "")

    def _start_init(self, names: list[str], user: str) -> None:
        os.makedirs(self._namespaces, mode=0o700, exist_ok=True)
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        pinned = tuple(os.path.join(self._namespaces, name) for name in names)
        init = start_init(pinned, self._root, user and os.path.join(self._namespaces, user))
        self._init = self._reaper.watch(init)
        pin(f"/proc/{self._init.pid}/ns/pid", os.path.join(self._namespaces, "pid"))

    async def start_sandbox(self, _request: sandbox_pb2.StartSandboxRequest) -> sandbox_pb2.StartSandboxResponse:
        return sandbox_pb2.StartSandboxResponse(pid=self._pid(), created_at=self._created())

    async def platform(self, _request: sandbox_pb2.PlatformRequest) -> sandbox_pb2.PlatformResponse:
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        return sandbox_pb2.PlatformResponse(platform=types_pb2.Platform(os="linux", architecture=machine))

    async def stop_sandbox(self, _request: sandbox_pb2.StopSandboxRequest) -> sandbox_pb2.StopSandboxResponse:
        """End the init, unpin, unmount. Idempotent."""
        self._remove()
        failpoint("shim.sandbox.removed")
        self._stopped.set()
        return sandbox_pb2.StopSandboxResponse()

    async def wait_sandbox(self, _request: sandbox_pb2.WaitSandboxRequest) -> sandbox_pb2.WaitSandboxResponse:
        await self._stopped.wait()
        return sandbox_pb2.WaitSandboxResponse()

    async def sandbox_status(
        self, _request: sandbox_pb2.SandboxStatusRequest
    ) -> sandbox_pb2.SandboxStatusResponse:
        ready = self._created_at and not self._stopped.is_set()
        return sandbox_pb2.SandboxStatusResponse(
            sandbox_id=self._id,
            pid=self._pid(),
            state=READY if ready else NOT_READY,
            created_at=self._created(),
        )

    async def ping_sandbox(self, _request: sandbox_pb2.PingRequest) -> sandbox_pb2.PingResponse:
        return sandbox_pb2.PingResponse()

    async def shutdown_sandbox(
        self, _request: sandbox_pb2.ShutdownSandboxRequest
    ) -> sandbox_pb2.ShutdownSandboxResponse:
        self.end()
        return sandbox_pb2.ShutdownSandboxResponse()

    def end(self) -> None:
        """The sandbox, and with it this process. Idempotent."""
        self._remove()
        self._shutdown()

    @property
    def at_rest(self) -> bool:
        """A pod whose init has died by itself is to be ended."""
        return self._init is None or not self._init.exit.done()

    def put_down(self) -> Packed:
        init = self._init.pid if self._init else 0
        return {"created_at": self._created_at, "init": init, "stopped": self._stopped.is_set()}

    def take_up(self, state: Packed) -> None:
        self._created_at = state["created_at"]
        self._init = self._reaper.watch(state["init"]) if state["init"] else None
        if state["stopped"]:
            self._stopped.set()

    def _remove(self) -> None:
        if self._init:
            self._init.kill(signal.SIGKILL)
            self._init = None
        remove_namespaces(self._namespaces, self._shm)

    def _pid(self) -> int:
        return self._init.pid if self._init else self._shim

    def _created(self) -> Timestamp:
        stamp = Timestamp()
        stamp.FromNanoseconds(self._created_at)
        return stamp


def _root_of(mappings: Iterable[crisp_shim_pb2.IdMapping]) -> int:
    """The node's id that is the pod's 0; 0 without a user namespace."""
    return next((line.host_id for line in mappings if line.container_id == 0), 0)


def _options(packed: Any) -> crisp_shim_pb2.SandboxOptions:
    """Our options; the zero value when there are none."""
    return crisp_shim_pb2.SandboxOptions.FromString(packed.value)
