"""Lists of a full node, and many calls at once; most containers are created only, since nobody asks what they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.daemons import Daemon
from bench.pods import SLEEP, container_config, remove_pod, sandbox_config, start_pod
from bench.scenarios import PARALLEL, ROUNDS, Timer
from cri import api
from rig.cri_client import CriClient

CONTAINERS = 500
PODS = 8
CALLS = 5000


def listing(daemon: Daemon, image: str, logs: Path) -> dict[str, float]:
    """ms of a list of CONTAINERS, and within how many ms 99 of 100 calls are answered: CALLS of them at once."""
    timer = Timer()
    with daemon.client() as client:
        pod, containers = _full_pod(client, image, logs)
        for _ in range(ROUNDS):
            timer.call(f"ListContainers of {CONTAINERS}", client.ListContainers, api.ListContainersRequest())
        calls = (
            lambda: client.ContainerStatus.future(api.ContainerStatusRequest(container_id=containers[0])),
            lambda: client.ListPodSandbox.future(api.ListPodSandboxRequest()),
        )
        latency = _p99_at_once(calls, lambda: _pods(client, image, logs))
        remove_pod(client, pod)
    return {**timer.medians(), f"p99 of {CALLS} calls at once": latency}


def _full_pod(client: CriClient, image: str, logs: Path) -> tuple[str, list[str]]:
    config = sandbox_config("full", logs)
    pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=config)).pod_sandbox_id

    def create(number: int) -> str:
        container = container_config(image, SLEEP)
        container.metadata.name = f"number-{number}"
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=container, sandbox_config=config)
        return str(client.CreateContainer(request).container_id)

    with ThreadPoolExecutor(PARALLEL) as pool:
        return pod, list(pool.map(create, range(CONTAINERS)))


def _pods(client: CriClient, image: str, logs: Path) -> None:
    """What else the daemon has to do meanwhile."""
    for number in range(PODS):
        remove_pod(client, start_pod(client, f"meanwhile-{number}", logs, image, SLEEP)[0])


def _p99_at_once(calls: Sequence[Callable[[], Any]], meanwhile: Callable[[], None]) -> float:
    times: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(meanwhile)
        pending = []
        for number in range(CALLS):
            began = time.perf_counter()
            call = calls[number % len(calls)]()
            call.add_done_callback(lambda _, began=began: times.append((time.perf_counter() - began) * 1e3))
            pending.append(call)
        for call in pending:
            call.result()
        other.result()
    return sorted(times)[CALLS * 99 // 100 - 1]
