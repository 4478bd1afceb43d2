"""Shims that are not ours: streams through FIFOs, logs written here, execs as tasks of theirs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from core.api.runc_options_pb2 import Options
from core.api.task_v3_pb2 import CreateTaskRequest
from core.api.types_pb2 import Mount as MountMessage
from core.errdefs import DeadlineExceeded, FailedPrecondition, Internal
from core.files.dirs import remove_tree
from core.log import get_logger
from core.shims.bundle import Runtime
from core.shims.shim import Shim
from core.tasks.container_io import ContainerIO
from core.tasks.fifo_attach import FifoAttach
from core.tasks.fifo_exec import FifoExec
from core.tasks.shim_kind import ShimKind
from core.tasks.streams import ByteSource
from core.tasks.tasks import ExecResult, TaskIO
from core.types import Mount

log = get_logger(__name__)

_RUNC_FAMILY = "containerd-shim-runc-"
_RUNC_OPTIONS = "containerd.runc.v1.Options"  # containerd's typeurl has no prefix
_CHUNK = 64 << 10  # bytes: what a FIFO holds


class ForeignShims:
    def __init__(self, drain: float) -> None:
        """`drain`: seconds that output may come after its process has ended."""
        self._drain = drain
        self._streams: dict[str, ContainerIO] = {}

    async def create(self, shim: Shim, container_id: str, bundle: str, rootfs: Sequence[Mount], io: TaskIO) -> int:
        earlier = self._streams.pop(container_id, None)
        if earlier:
            earlier.close()
        try:
            streams = self._streams[container_id] = ContainerIO.make(shim.directory.io(container_id), io)
        except OSError as exc:
            raise Internal(f"streams of container {container_id}: {exc}") from exc
        try:
            request = _create_request(shim.runtime, container_id, bundle, rootfs, streams)
            return await (await shim.client()).create(request)
        except BaseException:
            self.forget(shim, container_id)
            raise

    async def exec_sync(
        self, shim: Shim, container_id: str, process: dict[str, Any], *, timeout: float, limit: int
    ) -> ExecResult:
        streams = await self.exec(shim, container_id, process, stdin=False, stdout=True, stderr=True)
        assert streams.stdout and streams.stderr
        try:
            async with asyncio.timeout(timeout or None):
                out, err = await asyncio.gather(_collect(streams.stdout, limit), _collect(streams.stderr, limit))
                return ExecResult(stdout=out, stderr=err, exit_code=await streams.wait())
        except TimeoutError as exc:
            raise DeadlineExceeded(f"exec in container {container_id}: killed after its timeout") from exc
        finally:
            await streams.close()

    async def exec(
        self, shim: Shim, container_id: str, process: dict[str, Any], *, stdin: bool, stdout: bool, stderr: bool
    ) -> FifoExec:
        directory = shim.directory.io(f"exec-{os.urandom(16).hex()}")
        streams = FifoExec(await shim.foreign(), container_id, directory, drain=self._drain)
        await streams.open(process, stdin=stdin, stdout=stdout, stderr=stderr)
        return streams

    async def attach(
        self, shim: Shim, container_id: str, *, stdin: bool, stdout: bool, stderr: bool
    ) -> FifoAttach:
        io = self._of(container_id)
        return FifoAttach(container_id, io, await shim.foreign(), stdin=stdin, stdout=stdout, stderr=stderr)

    async def reopen_log(self, shim: Shim, container_id: str) -> None:
        self._of(container_id).reopen_log()

    def adopt(self, shim: Shim, container_id: str) -> None:
        if container_id in self._streams:
            return
        try:
            self._streams[container_id] = ContainerIO.find(shim.directory.io(container_id))
        except (OSError, ValueError) as exc:  # a crash came before its creation, or somebody has been there
            log.error("streams of container not found", container_id=container_id, error=exc)

    async def settle(self, container_id: str) -> None:
        if streams := self._streams.get(container_id):
            await streams.settle(self._drain)

    def forget(self, shim: Shim, container_id: str) -> None:
        if streams := self._streams.pop(container_id, None):
            streams.close()
        remove_tree(shim.directory.io(container_id))

    def _of(self, container_id: str) -> ContainerIO:
        try:
            return self._streams[container_id]
        except KeyError:
            raise FailedPrecondition(f"container {container_id} has no streams: it does not run") from None


_fits: type[ShimKind] = ForeignShims


def _create_request(
    runtime: Runtime, container_id: str, bundle: str, rootfs: Sequence[Mount], streams: ContainerIO
) -> CreateTaskRequest:
    mounts = [MountMessage(type=m.type, source=m.source, target=m.target, options=m.options) for m in rootfs]
    request = CreateTaskRequest(
        id=container_id, bundle=bundle, rootfs=mounts, terminal=streams.io.terminal, **streams.fifos._asdict()
    )
    if os.path.basename(runtime.shim).startswith(_RUNC_FAMILY):
        options = Options(binary_name=runtime.binary, root=runtime.root, systemd_cgroup=runtime.systemd_cgroup)
        options.io_uid, options.io_gid = streams.io.owner
        request.options.type_url = _RUNC_OPTIONS
        request.options.value = options.SerializeToString()
    return request


async def _collect(source: ByteSource, limit: int) -> bytes:
    """All of it, cut at `limit`."""
    found = bytearray()
    while data := await source.read(_CHUNK):
        found += data[: limit - len(found)]
    return bytes(found)
