"""What of tasks differs between our shims and others: the standard streams, and execs with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from core.shims.shim import Shim
from core.tasks.streams import ExecStreams, Streams
from core.tasks.tasks import ExecResult, TaskIO
from core.types import Mount


class ShimKind(Protocol):
    """The methods are those of `core.tasks.tasks.Tasks`, with the shim in place of the sandbox."""

    async def create(self, shim: Shim, container_id: str, bundle: str, rootfs: Sequence[Mount], io: TaskIO) -> int: ...

    async def exec_sync(
        self, shim: Shim, container_id: str, process: dict[str, Any], *, timeout: float, limit: int
    ) -> ExecResult: ...

    async def exec(
        self, shim: Shim, container_id: str, process: dict[str, Any], *, stdin: bool, stdout: bool, stderr: bool
    ) -> ExecStreams: ...

    async def attach(self, shim: Shim, container_id: str, *, stdin: bool, stdout: bool, stderr: bool) -> Streams: ...

    async def reopen_log(self, shim: Shim, container_id: str) -> None: ...

    def adopt(self, shim: Shim, container_id: str) -> None:
        """Take over what an earlier daemon had of the container. Idempotent."""

    async def settle(self, container_id: str) -> None:
        """Return when what the container, which has exited, wrote is in its log; after DRAIN seconds at the latest."""

    def forget(self, shim: Shim, container_id: str) -> None:
        """The task is deleted. Idempotent."""
