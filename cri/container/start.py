"""StartContainer: the OCI runtime's create and start, in the pod's shim.

What a crash leaves: a task in state created or running. Recovery asks the shim: a running one becomes RUNNING, a
created one is deleted and the container can be started again.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial

from core.errdefs import AlreadyExists, FailedPrecondition, Internal, Unavailable
from core.failpoint import failpoint
from core.log import get_logger
from core.tasks.tasks import TaskIO
from cri import api
from cri.container.deps import ContainerDeps
from cri.container.failures import start_failure
from cri.container.source import target_pid
from cri.container.stop import kill_container
from cri.container.tasks import delete_task
from cri.store.container import Container
from cri.user_namespace import user_namespace

log = get_logger(__name__)

START_ERROR = "StartError"
START_ERROR_CODE = 128
"""What the kubelet expects of a container that could not be started: containerd's errorStartExitCode."""


async def start_container(deps: ContainerDeps, container_id: str) -> None:
    """Raises NotFound, FailedPrecondition (not CREATED), InvalidArgument (the command cannot be executed), and what
    else the OCI runtime said; then the container is EXITED with code 128 and reason StartError."""
    found = deps.containers.get(container_id)
    await deps.operations.finish(_start_locked(deps, found.id))


async def _start_locked(deps: ContainerDeps, container_id: str) -> None:
    async with deps.locks.hold(container_id):
        container = deps.containers.get(container_id)
        if container.state != api.ContainerState.CONTAINER_CREATED:
            name = api.ContainerState.Name(container.state)
            raise FailedPrecondition(f"container {container.id} is in state {name}: only a created one can be started")
        await _start(deps, container)


async def _start(deps: ContainerDeps, container: Container) -> None:
    try:
        await _run_task(deps, container)
    except Exception as exc:
        await _end_task(deps, container.id)
        now = max(deps.clock(), container.created_at)
        await deps.exits.record(
            replace(
                container,
                started_at=now,
                finished_at=now,
                exit_code=START_ERROR_CODE,
                reason=START_ERROR,
                message=str(exc),
            )
        )
        raise


async def _run_task(deps: ContainerDeps, container: Container) -> None:
    pod = deps.sandboxes.find(container.sandbox_id)
    if pod is None or pod.stopped:
        raise FailedPrecondition(f"sandbox {container.sandbox_id} of container {container.id} is not ready")
    config = container.request()
    target_pid(deps, pod, config)  # its pid is in the spec, and may be another's when it has ended
    users = user_namespace(pod.request().linux.security_context.namespace_options)
    io = TaskIO(
        log_path=container.log_file,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        terminal=config.tty,
        owner=users.root if users else (0, 0),
    )
    try:
        pid = await _create_task(deps, container, io)
    except Internal as exc:
        raise start_failure(deps, container, exc) from exc
    failpoint("container.start.created")
    started = replace(container, pid=pid, started_at=max(deps.clock(), container.created_at))
    await deps.containers.put(started)
    failpoint("container.start.recorded")
    await deps.nri.start(started)
    await deps.tasks.start(container.sandbox_id, container.id)
    failpoint("container.start.started")
    await deps.nri.started(started)
    log.info("container started", container_id=container.id, pid=pid)


async def _create_task(deps: ContainerDeps, container: Container, io: TaskIO) -> int:
    create = partial(deps.tasks.create, container.sandbox_id, container.id, deps.bundles.path(container.id), io=io)
    try:
        return await create()
    except AlreadyExists:  # a start was cut off, and its pod is not recovered yet; this one never ran
        await delete_task(deps, container)
        return await create()


async def _end_task(deps: ContainerDeps, container_id: str) -> None:
    """See to it that nothing of a container whose start has failed runs on: the kubelet is going to start another one.

    When that fails, too, the container is what its record says, RUNNING, and can be stopped.
    """
    container = deps.containers.find(container_id)
    if container is None or not container.running:
        return
    with contextlib.suppress(Unavailable):  # a dead shim takes it along
        try:
            await delete_task(deps, container)
        except FailedPrecondition:  # the start had succeeded before it failed
            await kill_container(deps, container)
            await delete_task(deps, container)
