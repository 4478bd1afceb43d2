"""What every verb that ends a container does to its task."""

from __future__ import annotations

from core.errdefs import NotFound
from cri.container.deps import ContainerDeps
from cri.store.container import Container


async def delete_task(deps: ContainerDeps, container: Container) -> None:
    """Remove what the shim and the OCI runtime hold of the container; success when there is nothing.

    Raises FailedPrecondition when it runs, Unavailable when its shim does not.
    """
    try:
        await deps.tasks.delete(container.sandbox_id, container.id)
    except NotFound:
        return
