"""Sandboxes without a pause container: namespaces that the pod's shim makes and pins.

What a crash leaves is a directory below `sandboxes/`, with or without a shim: `list` finds it, `remove` undoes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from core.api.crisp_shim_pb2 import IdMapping as IdMappingMessage
from core.api.crisp_shim_pb2 import SandboxOptions
from core.api.sandbox_pb2 import CreateSandboxRequest
from core.errdefs import AlreadyExists, CrispError, DeadlineExceeded, Unavailable
from core.failpoint import failpoint
from core.log import get_logger
from core.sandbox.controller import IdMapping, Sandbox, SandboxController, SandboxSpec
from core.sandbox.handlers import find_runtime
from core.shims.bundle import Runtime
from core.shims.client import ShimClient
from core.shims.manager import ShimManager
from core.shims.shim import Shim

log = get_logger(__name__)

READY = "SANDBOX_READY"
"""SandboxStatusResponse.state between start and stop."""


class PinnedController:
    def __init__(self, manager: ShimManager, runtimes: Mapping[str, Runtime]) -> None:
        """`runtimes` by runtime handler; "" is the default one."""
        self._manager = manager
        self._runtimes = runtimes

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Raises InvalidArgument (unknown handler, a sysctl the kernel refuses), AlreadyExists (a half-made sandbox of
        this id: remove it), FailedPrecondition (systemd's cgroups without systemd), Unavailable, Internal."""
        running = await self._running(spec)
        if running is not None:
            return running
        runtime = find_runtime(self._runtimes, spec.runtime_handler)
        try:
            shim = await self._manager.start(spec.id, runtime, group=_root_of(spec.gid_mappings))
            client = await shim.client()
            await client.create_sandbox(_create_request(spec, shim))
            failpoint("sandbox.start.pinned")
            shim.directory.note_namespaces()
            return await _sandbox(spec, shim, client)
        except AlreadyExists:
            raise  # not ours to remove
        except BaseException:
            await asyncio.shield(self._manager.remove(spec.id))
            raise

    async def alive(self, sandbox_id: str) -> bool:
        try:
            shim = self._manager.get(sandbox_id)
            status = await (await shim.client()).sandbox_status(sandbox_id)
        except CrispError as exc:
            log.debug("sandbox does not answer", sandbox_id=sandbox_id, reason=exc)
            return False
        return status.state == READY and shim.directory.pinned()

    async def stop(self, sandbox_id: str) -> None:
        """A shim that hangs is killed: there is nothing left that it is needed for."""
        try:
            await (await self._manager.get(sandbox_id).client()).stop_sandbox(sandbox_id)
        except (Unavailable, DeadlineExceeded) as exc:  # dead, stopped and removed, or hanging
            log.info("sandbox stopped without its shim", sandbox_id=sandbox_id, reason=exc)
            await self._manager.kill(sandbox_id)
            await asyncio.to_thread(self._manager.directory(sandbox_id).release)

    async def remove(self, sandbox_id: str) -> None:
        await self._manager.remove(sandbox_id)

    async def list(self) -> list[str]:
        return self._manager.ids()

    async def _running(self, spec: SandboxSpec) -> Sandbox | None:
        """The sandbox when it was started before and is ready."""
        if not await self.alive(spec.id):
            return None
        shim = self._manager.get(spec.id)
        return await _sandbox(spec, shim, await shim.client())


_fits: type[SandboxController] = PinnedController


def _create_request(spec: SandboxSpec, shim: Shim) -> CreateSandboxRequest:
    shared = spec.shared
    options = SandboxOptions(
        hostname=spec.hostname,
        network="network" in shared,
        ipc="ipc" in shared,
        uts="uts" in shared,
        pid="pid" in shared,
        sysctls=spec.sysctls,
        shm_size=spec.shm_size,
        uid_mappings=map(_mapping, spec.uid_mappings),
        gid_mappings=map(_mapping, spec.gid_mappings),
    )
    request = CreateSandboxRequest(sandbox_id=spec.id, bundle_path=shim.directory.path)
    request.options.Pack(options)
    return request


def _mapping(mapping: IdMapping) -> IdMappingMessage:
    return IdMappingMessage(container_id=mapping.container_id, host_id=mapping.host_id, length=mapping.length)


async def _sandbox(spec: SandboxSpec, shim: Shim, client: ShimClient) -> Sandbox:
    started = await client.start_sandbox(spec.id)
    shared = spec.shared
    return Sandbox(
        id=spec.id,
        pid=started.pid,
        namespaces={kind: shim.directory.namespace(kind) for kind in shared},
        created_at=started.created_at.ToNanoseconds() / 1e9,
        shm=shim.directory.shm if "ipc" in shared else "",
    )


def _root_of(mappings: tuple[IdMapping, ...]) -> int | None:
    """The node's group that is the pod's root group, None without a user namespace."""
    return next((mapping.host_id for mapping in mappings if mapping.container_id == 0), None)
