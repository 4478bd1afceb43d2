"""Whether pods still are on the network as they were attached, for whom asks (CNI CHECK).

Only on request. What breaks a network, a flushed packet filter or an agent that was restarted, happens at any time, so
a restart of the daemon is no reason to look; each look is a process per plugin and pod; and no runtime may mend what
it finds, since the network is the cluster's and a second ADD is forbidden (CNI spec 1.1, section 2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from core.errdefs import CrispError
from cri.sandbox.deps import SandboxDeps
from cri.store.sandbox import PodSandbox

_PARALLEL = 4  # pods at once: each is a process at a time


async def find_disconnected(deps: SandboxDeps, within: float) -> Mapping[str, str]:
    """What is wrong, by sandbox id, with each ready pod that has a network of its own; that of a pod which has no
    answer after `within` seconds for all is the lack of it."""
    pods = [pod for pod in deps.sandboxes.list() if pod.sandbox.netns and not pod.stopped]
    found = {pod.id: f"not known after {within:g} s" for pod in pods}
    slots = asyncio.Semaphore(_PARALLEL)

    async def ask(pod: PodSandbox) -> None:
        async with slots:
            found[pod.id] = await _problem(deps, pod)

    asking = [asyncio.create_task(ask(pod)) for pod in pods]
    try:
        if asking:
            await asyncio.wait(asking, timeout=within)
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    return {pod_id: problem for pod_id, problem in found.items() if problem}


async def _problem(deps: SandboxDeps, pod: PodSandbox) -> str:
    """"" when all is well, and when the pod has been stopped meanwhile."""
    try:
        await deps.network.check(pod.id)
    except CrispError as exc:
        now = deps.sandboxes.find(pod.id)
        return str(exc) if now and not now.stopped else ""
    return ""
