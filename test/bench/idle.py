"""What it costs that pods are there: a node that does nothing, and one with a probe each second in each pod."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.daemons import Daemon
from bench.pods import SLEEP, remove_pod, start_pod
from bench.scenarios import PARALLEL, own_processes
from cri import api
from rig.memory import cpu_of, tree_of

IDLE_PODS = 100
IDLE_SECONDS = 60
PROBED_PODS = 20
PROBES = 20
"""In each pod, one a second."""

Figures = dict[str, float]


def idling(daemon: Daemon, image: str, logs: Path) -> Figures:
    """Processor time of the daemon, in percent of one core, while nobody asks it anything."""
    with daemon.client() as client, ThreadPoolExecutor(PARALLEL) as pool:
        pods = list(pool.map(lambda n: start_pod(client, f"idle-{n}", logs, image, SLEEP)[0], range(IDLE_PODS)))
        time.sleep(5)  # what starts have left to do is not idling
        everything = own_processes(daemon)
        before, before_all = cpu_of(tree_of(daemon.process.pid)), cpu_of(everything)
        time.sleep(IDLE_SECONDS)
        own, every = cpu_of(tree_of(daemon.process.pid)) - before, cpu_of(everything) - before_all
        list(pool.map(lambda pod: remove_pod(client, pod), pods))
    return {
        f"idle daemon, {IDLE_PODS} pods, % of a core": own / IDLE_SECONDS * 100,
        f"with shims, {IDLE_PODS} pods, % of a core": every / IDLE_SECONDS * 100,
    }


def probing(daemon: Daemon, image: str, logs: Path) -> Figures:
    """Processor time of the daemon and its shims for an exec probe."""
    with daemon.client() as client, ThreadPoolExecutor(PROBED_PODS) as pool:
        started = list(pool.map(lambda n: start_pod(client, f"probe-{n}", logs, image, SLEEP), range(PROBED_PODS)))
        processes = own_processes(daemon)
        before = cpu_of(processes)

        def probe(container: str) -> None:
            for _ in range(PROBES):
                due = time.monotonic() + 1
                client.ExecSync(api.ExecSyncRequest(container_id=container, cmd=["/bin/true"], timeout=10))
                time.sleep(max(0, due - time.monotonic()))

        list(pool.map(probe, (container for _, container in started)))
        cpu = cpu_of(processes) - before
        list(pool.map(lambda pod: remove_pod(client, pod), (pod for pod, _ in started)))
    return {"exec probe, CPU ms": cpu * 1e3 / (PROBED_PODS * PROBES)}
