"""RemovePodSandbox: stop it, remove its containers, then all that bears its id; the record goes last. Idempotent.

What a crash leaves: a record of a stopped sandbox. The kubelet lists it and asks again.
"""

from __future__ import annotations

import asyncio

from core.errdefs import NotFound
from core.failpoint import failpoint
from core.log import get_logger
from core.steps import step
from cri.sandbox.deps import SandboxDeps
from cri.sandbox.stop import stop_locked

log = get_logger(__name__)


async def remove_pod_sandbox(deps: SandboxDeps, sandbox_id: str) -> None:
    """Success when there is no such sandbox. Running containers are killed (CRI, RemovePodSandbox)."""
    try:
        pod = deps.sandboxes.get(sandbox_id)
    except NotFound:
        return
    async with deps.locks.hold(pod.id):
        if deps.sandboxes.find(pod.id) is None:
            return
        await stop_locked(deps, pod)
        await deps.remove_containers(pod.id)
        failpoint("sandbox.remove.emptied")
        with step("shim and namespaces"):
            await deps.controller_of(pod).remove(pod.id)
        failpoint("sandbox.remove.removed")
        with step("files"):
            await asyncio.get_running_loop().run_in_executor(deps.filesystem, deps.files.remove, pod.id)
        failpoint("sandbox.remove.unfiled")
        await deps.nri.remove_pod(pod)
        await deps.sandboxes.delete(pod.id)
        failpoint("sandbox.remove.forgotten")
        deps.operations.release(pod.name)
    log.info("sandbox removed", sandbox_id=pod.id, pod=pod.name)
