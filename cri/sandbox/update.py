"""UpdatePodSandboxResources: what the pod as a whole may use, and what it takes besides its containers.

The kubelet sets the limits of the pod's cgroup, which it owns, by itself. Pinned namespaces use nothing that could be
limited, so here the numbers are kept for those who ask: verbose status, and plugins.
"""

from __future__ import annotations

from dataclasses import replace

from core.log import get_logger
from cri import api
from cri.sandbox.deps import SandboxDeps

log = get_logger(__name__)


async def update_pod_sandbox_resources(deps: SandboxDeps, request: api.UpdatePodSandboxResourcesRequest) -> None:
    """Keep the resources that the request has; others stay. Raises NotFound, and what a plugin says."""
    found = deps.sandboxes.get(request.pod_sandbox_id)
    await deps.nri.update_pod(found, request)
    async with deps.locks.hold(found.id):
        pod = deps.sandboxes.get(found.id)
        config = pod.request()
        for field in ("overhead", "resources"):
            if request.HasField(field):
                getattr(config.linux, field).CopyFrom(getattr(request, field))
        updated = replace(pod, config=config.SerializeToString())
        await deps.sandboxes.put(updated)
    await deps.nri.updated_pod(updated)
    log.info("sandbox resources changed", sandbox_id=found.id)
