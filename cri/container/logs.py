"""ReopenContainerLog."""

from __future__ import annotations

from core.errdefs import FailedPrecondition
from cri.container.deps import ContainerDeps


async def reopen_log(deps: ContainerDeps, container_id: str) -> None:
    """Open the log path anew, after the kubelet renamed the file. Raises NotFound, FailedPrecondition."""
    container = deps.containers.get(container_id)
    if not container.running:
        raise FailedPrecondition(f"container {container.id} is not running: its log is closed")
    await deps.tasks.reopen_log(container.sandbox_id, container.id)
