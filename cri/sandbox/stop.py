"""StopPodSandbox: end the containers, give addresses and ports back, unpin the namespaces. Idempotent."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from core.errdefs import DeadlineExceeded, NotFound, Unavailable
from core.failpoint import failpoint
from core.linux.ns import is_pinned
from core.log import get_logger
from core.steps import step
from cri.sandbox.deps import SandboxDeps
from cri.sandbox.network import pod_network
from cri.store.sandbox import PodSandbox

log = get_logger(__name__)


async def stop_pod_sandbox(deps: SandboxDeps, sandbox_id: str) -> None:
    """Success when there is no such sandbox, or it is stopped (CRI, StopPodSandbox).

    When it returns the pod's address and ports are free. Raises Unavailable when a plugin fails: the call is repeated.
    """
    with contextlib.suppress(NotFound):
        pod = deps.sandboxes.get(sandbox_id)
        async with deps.locks.hold(pod.id):
            await stop_locked(deps, deps.sandboxes.get(pod.id))


async def _detach(deps: SandboxDeps, pod: PodSandbox) -> None:
    """While the pod has its network namespace a plugin that fails keeps the pod. Without one nothing uses the address
    any more: the plugin is asked again in the background, and the pod need not wait for it (hazards 3.22)."""
    try:
        await deps.network.detach(pod_network(pod.id, pod.sandbox.netns, pod.request()))
    except (Unavailable, DeadlineExceeded) as exc:
        if is_pinned(pod.sandbox.netns):
            raise
        log.warning("network not detached yet", sandbox_id=pod.id, error=exc)


async def stop_locked(deps: SandboxDeps, pod: PodSandbox) -> None:
    """As above, by a caller that holds the pod's lock."""
    with step("end containers"):
        await deps.end_containers(pod.id)
    failpoint("sandbox.stop.ended")
    await deps.nri.stop_pod(pod)
    if pod.sandbox.netns:
        with step("network"):
            await _detach(deps, pod)
        failpoint("sandbox.stop.detached")
    with step("namespaces"):
        await deps.controller_of(pod).stop(pod.id)
    failpoint("sandbox.stop.unpinned")
    if not pod.stopped:
        await deps.sandboxes.put(replace(pod, stopped=True))
        failpoint("sandbox.stop.recorded")
        log.info("sandbox stopped", sandbox_id=pod.id, pod=pod.name)
