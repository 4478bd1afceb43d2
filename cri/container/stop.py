"""StopContainer: the stop signal once, the grace period, then SIGKILL to everything in the container."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from core.errdefs import CrispError, DeadlineExceeded, NotFound
from core.failpoint import failpoint
from core.log import get_logger
from core.oci.cgroups import thaw_group
from cri.container.deps import ContainerDeps
from cri.container.recover import KILLED_EXIT, end_container
from cri.store.container import Container

log = get_logger(__name__)

KILL_WAIT = 10.0
"""Seconds from SIGKILL to the exit, before the call says that the process hangs in the kernel. The kill is repeated by
the next call; nothing else waits for it (hazards 3.38)."""


async def stop_container(deps: ContainerDeps, container_id: str, timeout: float) -> None:
    """Success when there is no such container, or it does not run (CRI, StopContainer).

    `timeout` is the grace period in seconds, 0 kills at once. Concurrent calls each keep their own time, so a shorter
    one wins; the signal is sent once. Raises DeadlineExceeded when the container survives SIGKILL.
    """
    with contextlib.suppress(NotFound):
        container = deps.containers.get(container_id)
        if not container.running and not container.lost:
            return
        if timeout > 0 and await _asked(deps, container, timeout):
            return
        await kill_container(deps, container)


async def _asked(deps: ContainerDeps, container: Container, timeout: float) -> bool:
    """Ask the container to end; whether it did within `timeout` seconds, in which its shim may hang, too."""
    try:
        async with asyncio.timeout(timeout):
            if deps.stopping.begin(container.id):
                await _ask(deps, container)
            await deps.exits.wait_exited(container.id)
    except TimeoutError:
        return False
    return True


async def _ask(deps: ContainerDeps, container: Container) -> None:
    try:
        await deps.tasks.kill(container.sandbox_id, container.id, container.stop_signal)
    except CrispError:
        deps.stopping.forget(container.id)  # it may not have come: the next call sends it
        raise
    failpoint("container.stop.asked")


async def kill_container(deps: ContainerDeps, container: Container) -> None:
    """SIGKILL everything in the container and wait for its exit. Raises DeadlineExceeded, Unavailable (shim)."""
    try:
        async with asyncio.timeout(KILL_WAIT):
            await deps.tasks.kill(container.sandbox_id, container.id, signal.SIGKILL, all_processes=True)
            failpoint("container.stop.killed")
            thaw_group(deps.facts.layout, container.cgroup)
            await deps.exits.wait_exited(container.id)
    except TimeoutError:
        raise DeadlineExceeded(
            f"container {container.id} is still there {KILL_WAIT:.0f} s after SIGKILL: a process of it hangs in the "
            "kernel, or its shim does"
        ) from None


async def end_containers(deps: ContainerDeps, sandbox_id: str) -> None:
    """Kill all running containers of a pod, at the same time. Raises as `kill_container`.

    The shim goes with them when it does not answer, and so does nobody's pod but this.
    """
    running = [one for one in deps.containers.list() if one.sandbox_id == sandbox_id and (one.running or one.lost)]
    results = await asyncio.gather(*(kill_container(deps, one) for one in running), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        if not await deps.tasks.end_hung(sandbox_id):
            raise errors[0]
        for container in filter(None, (deps.containers.find(one.id) for one in running)):
            await end_container(deps, container, KILLED_EXIT)
