"""What a new daemon does about the containers of an earlier one.

    shim answers, task runs          → RUNNING, untouched
    shim answers, task has exited    → EXITED with the code of its exit record
    shim answers, task only created  → deleted; the container is CREATED and can be started
    shim answers, knows no task      → CREATED stays CREATED; a started one is EXITED 255, reason Unknown
    shim is dead, or the node has rebooted → EXITED 137 or 255, what is left of it was killed with the shim
    shim does not answer in time     → UNKNOWN until it does; nothing is killed on a mere error (hazards 3.3)
"""

from __future__ import annotations

from dataclasses import replace

from core.errdefs import NotFound
from core.failpoint import failpoint
from core.log import get_logger
from core.oci.cgroups import end_group
from core.tasks.tasks import TaskExit, TaskState
from cri.container.deps import ContainerDeps
from cri.container.exits import exited
from cri.container.tasks import delete_task
from cri.store.container import Container

log = get_logger(__name__)

UNKNOWN_EXIT = 255
"""Exit code of a container whose end nobody saw, as containerd reports it."""
KILLED_EXIT = 137


async def recover_container(deps: ContainerDeps, container: Container) -> None:
    """Bring the record in line with what the pod's shim, which answers, says."""
    if container.finished_at:
        return
    try:
        status = await deps.tasks.status(container.sandbox_id, container.id)
    except NotFound:
        if container.started_at:
            await end_container(deps, container, UNKNOWN_EXIT)
        return
    if status.state is TaskState.CREATED:  # the record first: without its task a started one counts as ended
        await deps.containers.put(replace(container, started_at=0, pid=0, lost=False))
        failpoint("recover.container.reset")
        deps.exits.wake(container.id)
        await delete_task(deps, container)
    elif status.state is TaskState.STOPPED:
        exit_ = status.exit
        await (deps.exits.record(exited(container, exit_)) if exit_ else end_container(deps, container, UNKNOWN_EXIT))
    else:
        started = container.started_at or max(deps.clock(), container.created_at)
        await deps.containers.put(replace(container, started_at=started, pid=status.pid, lost=False))


async def end_container(deps: ContainerDeps, container: Container, code: int) -> None:
    """Record the end of a container whose shim is gone, and make sure of it: the kubelet will start another one."""
    if not container.finished_at and container.started_at:
        await end_group(deps.facts.layout, container.cgroup)
        failpoint("recover.container.ended")
        await record_end(deps, container, code)


async def record_end(deps: ContainerDeps, container: Container, code: int) -> None:
    """Record the end of a container that cannot run any more."""
    if container.finished_at or not container.started_at:
        return
    log.warning("container ended unseen", container_id=container.id, exit_code=code)
    exit_ = TaskExit(container_id=container.id, exec_id="", pid=0, exit_code=code, exited_at=deps.clock() / 1e9)
    reason = "Unknown" if code == UNKNOWN_EXIT else "ShimDied"
    await deps.exits.record(replace(exited(container, exit_), reason=reason))


async def lose_container(deps: ContainerDeps, container: Container) -> None:
    """Its shim does not answer: its state is not known."""
    if container.running:
        await deps.containers.put(replace(container, lost=True))
