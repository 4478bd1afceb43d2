"""What there is now on this node, for whoever watches it."""

from __future__ import annotations

from functools import partial

from core.linux.proc import pss
from core.wiring.wiring import Core
from cri.calls import Calls
from cri.container.deps import ContainerDeps
from cri.events.events import Events
from cri.telemetry.open import Gauges, Present
from cri.telemetry.queues import waiting


def present(core: Core, containers: ContainerDeps, calls: Calls, events: Events) -> Present:
    return Present(
        gauges=_gauges(core, containers),
        logged=partial(_logged, core),
        queues=partial(_queues, core, containers, calls, events),
        pulling=partial(_pulling, core),
        problems=core.problems,
    )


def _logged(core: Core) -> dict[str, int]:
    counts = core.shims.logged()
    return {"bytes": counts.bytes, "lines": counts.lines, "split": counts.split, "dropped_bytes": counts.dropped}


def _pulling(core: Core) -> dict[tuple[str, str], tuple[int, int, int]]:
    layers = {layer.digest: layer for pull in core.images.puller.running().values() for layer in pull}
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    for layer in layers.values():
        count, here, size = found.get((layer.phase, layer.host), (0, 0, 0))
        found[layer.phase, layer.host] = (count + 1, here + layer.offset, size + layer.size)
    return found


def _queues(core: Core, containers: ContainerDeps, calls: Calls, events: Events) -> dict[str, int]:
    return {
        "calls": calls.running,
        "operations": containers.operations.running,
        "metadata": waiting(core.metadata),
        "filesystem": waiting(core.filesystem),
        "events": events.pending,
    }


def _gauges(core: Core, containers: ContainerDeps) -> Gauges:
    return {
        "crisp_pods_ready": ("Ready pods.", lambda: sum(not pod.stopped for pod in containers.sandboxes.list())),
        "crisp_containers_running": (
            "Running containers.",
            lambda: sum(container.running for container in containers.containers.list()),
        ),
        "crisp_containers": ("Containers in all states.", lambda: len(containers.containers.list())),
        "crisp_images": ("Images.", lambda: len(core.images.store.list())),
        "crisp_shims": ("Shims that run.", lambda: core.shims.running),
        "crisp_shims_memory_bytes": ("Memory of shims, shared in part.", lambda: pss(core.shims.pids())),
        "crisp_network_ready": ("Whether pods get a network.", lambda: core.network.status().ready),
    }
