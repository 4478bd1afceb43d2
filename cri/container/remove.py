"""RemoveContainer: in any state, each step idempotent, the record last.

What a crash leaves: the record of an exited container with less and less behind it. The kubelet asks again.
"""

from __future__ import annotations

import asyncio

from core.errdefs import NotFound, Unavailable
from core.failpoint import failpoint
from core.log import get_logger
from core.steps import carried, step
from cri.container.deps import ContainerDeps
from cri.container.stop import kill_container
from cri.container.tasks import delete_task
from cri.store.container import Container

log = get_logger(__name__)


async def remove_container(deps: ContainerDeps, container_id: str) -> None:
    """Success when there is no such container. A running one is killed first (CRI, RemoveContainer: "forcibly")."""
    try:
        found = deps.containers.get(container_id)
    except NotFound:
        return
    async with deps.locks.hold(found.id):
        container = deps.containers.find(found.id)
        if container is not None:
            deps.removing.add(container.id)
            try:
                await _remove(deps, container)
            finally:
                deps.removing.discard(container.id)


async def _remove(deps: ContainerDeps, container: Container) -> None:
    if container.running or container.lost:
        await kill_container(deps, container)
    await deps.nri.remove(deps.containers.find(container.id) or container)
    try:
        await delete_task(deps, container)
        failpoint("container.remove.task")
    except Unavailable as exc:  # its shim is gone, and its processes with it: the directories are all that is left
        log.warning("removing a container without its shim", container_id=container.id, error=exc)
    loop = asyncio.get_running_loop()
    with step("bundle"):
        await loop.run_in_executor(deps.filesystem, carried(deps.bundles.release), container.id)
    failpoint("container.remove.bundle")
    await deps.containers.delete(container.id)
    failpoint("container.remove.forgotten")
    deps.stopping.forget(container.id)
    deps.operations.release(container.name)
    loop.run_in_executor(deps.filesystem, deps.bundles.clean_up)  # in nobody's way: nothing waits for it
    log.info("container removed", container_id=container.id, name=container.name)


async def remove_containers(deps: ContainerDeps, sandbox_id: str) -> None:
    """Remove all containers of a pod."""
    for container in deps.containers.list():
        if container.sandbox_id == sandbox_id:
            await remove_container(deps, container.id)
