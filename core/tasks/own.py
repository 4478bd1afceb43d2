"""Our own shims: they write the logs, collect what execs print and hand out descriptors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from core.api.crisp_shim_pb2 import ExecSyncRequest, OpenStreams
from core.errdefs import DeadlineExceeded
from core.shims.shim import Shim
from core.tasks.messages import collect, create_request
from core.tasks.shim_kind import ShimKind
from core.tasks.shim_streams import ShimExec, ShimStreams
from core.tasks.tasks import ExecResult, TaskIO
from core.types import Mount

EXEC_GRACE = 15.0  # seconds beyond an exec's own timeout for the shim to kill it and drain its output


class OwnShims:
    def __init__(self, drain: float) -> None:
        """`drain`: seconds that the output of an exec's client may come after the exec has ended."""
        self._drain = drain

    async def create(self, shim: Shim, container_id: str, bundle: str, rootfs: Sequence[Mount], io: TaskIO) -> int:
        request = create_request(shim.runtime, container_id, bundle, rootfs, io)
        return await (await shim.client()).create(request)

    async def exec_sync(
        self, shim: Shim, container_id: str, process: dict[str, Any], *, timeout: float, limit: int
    ) -> ExecResult:
        request = ExecSyncRequest(
            container_id=container_id,
            process=json.dumps(process).encode(),
            timeout_ns=round(timeout * 1e9),
            limit=limit,
        )
        client = await shim.client()
        try:
            async with asyncio.timeout(timeout + EXEC_GRACE if timeout else None):
                return await collect(client, request)
        except TimeoutError as exc:
            raise DeadlineExceeded(f"exec in container {container_id}: the shim does not answer") from exc

    async def exec(
        self, shim: Shim, container_id: str, process: dict[str, Any], *, stdin: bool, stdout: bool, stderr: bool
    ) -> ShimExec:
        request = OpenStreams(
            container_id=container_id,
            exec=True,
            terminal=bool(process.get("terminal")),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        return await ShimExec.open(shim.directory.streams, request, json.dumps(process).encode(), drain=self._drain)

    async def attach(
        self, shim: Shim, container_id: str, *, stdin: bool, stdout: bool, stderr: bool
    ) -> ShimStreams:
        request = OpenStreams(container_id=container_id, stdin=stdin, stdout=stdout, stderr=stderr)
        return await ShimStreams.open(shim.directory.streams, request)

    async def reopen_log(self, shim: Shim, container_id: str) -> None:
        await (await shim.client()).reopen_log(container_id)

    def adopt(self, shim: Shim, container_id: str) -> None:
        """All of it is the shim's."""

    async def settle(self, container_id: str) -> None:
        """It tells an exit when it has written the log."""

    def forget(self, shim: Shim, container_id: str) -> None:
        """It has."""


_fits: type[ShimKind] = OwnShims
