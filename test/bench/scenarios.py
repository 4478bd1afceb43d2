"""What is measured: each scenario takes an idle daemon and leaves it idle. Values are ms, MiB or per second."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from bench.daemons import Daemon
from bench.pods import SLEEP, container_config, remove_pod, sandbox_config, start_pod
from cri import api
from rig.cri_client import CriClient
from rig.memory import cpu_of, pss_of, tree_of

ROUNDS = 20
PULLS = 3
PODS = 40
PARALLEL = 8
BURST, BURST_PARALLEL = 100, 16
LOG_MIB = 256
SETTLE = 130
"""Seconds until pods that have just started are idle pods: Go collects garbage at least every two minutes."""
MIB = float(1 << 20)

Figures = dict[str, float]


class Timer:
    """Collects the milliseconds of named calls; one that a daemon does not have is left out."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = defaultdict(list)

    def call(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        started = time.perf_counter()
        try:
            result = function(*args)
        except grpc.RpcError as exc:
            if exc.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise
        self._times[name].append((time.perf_counter() - started) * 1e3)
        return result

    def medians(self) -> Figures:
        return {name: statistics.median(times) for name, times in self._times.items()}


def lifecycle(daemon: Daemon, image: str, logs: Path) -> Figures:
    """p50 of each call in the life of a one-container pod."""
    timer = Timer()
    with daemon.client() as client:
        for index in range(ROUNDS):
            _one_life(client, timer, f"life-{index}", image, logs)
    medians = timer.medians()
    ready = sum(medians[name] for name in ("RunPodSandbox", "CreateContainer", "StartContainer"))
    return {"pod ready": ready, **medians}


def _one_life(client: CriClient, timer: Timer, name: str, image: str, logs: Path) -> None:
    config = sandbox_config(name, logs)
    pod = timer.call("RunPodSandbox", client.RunPodSandbox, api.RunPodSandboxRequest(config=config)).pod_sandbox_id
    request = api.CreateContainerRequest(
        pod_sandbox_id=pod, config=container_config(image, SLEEP), sandbox_config=config
    )
    container = timer.call("CreateContainer", client.CreateContainer, request).container_id
    timer.call("StartContainer", client.StartContainer, api.StartContainerRequest(container_id=container))
    command = api.ExecSyncRequest(container_id=container, cmd=["/bin/true"], timeout=10)
    timer.call("ExecSync", client.ExecSync, command)
    timer.call("ContainerStatus", client.ContainerStatus, api.ContainerStatusRequest(container_id=container))
    timer.call("StopContainer", client.StopContainer, api.StopContainerRequest(container_id=container))
    timer.call("StopPodSandbox", client.StopPodSandbox, api.StopPodSandboxRequest(pod_sandbox_id=pod))
    timer.call("RemoveContainer", client.RemoveContainer, api.RemoveContainerRequest(container_id=container))
    timer.call("RemovePodSandbox", client.RemovePodSandbox, api.RemovePodSandboxRequest(pod_sandbox_id=pod))


def density(daemon: Daemon, image: str, logs: Path) -> Figures:
    """Many pods at once: how fast they start, what each takes, how fast they are listed."""
    with daemon.client() as client:
        before = pss_of(own_processes(daemon))
        started = time.perf_counter()
        with ThreadPoolExecutor(PARALLEL) as pool:
            names = [f"dense-{index}" for index in range(PODS)]
            pods = [pod for pod, _ in pool.map(lambda name: start_pod(client, name, logs, image, SLEEP), names)]
        rate = PODS / (time.perf_counter() - started)
        after = pss_of(own_processes(daemon))
        time.sleep(SETTLE)
        idle = pss_of(own_processes(daemon))
        timer = Timer()
        for _ in range(ROUNDS):
            timer.call(f"ListContainers of {PODS}", client.ListContainers, api.ListContainersRequest())
            timer.call(f"stats of {PODS} containers", client.ListContainerStats, api.ListContainerStatsRequest())
            timer.call(f"stats of {PODS} pods", client.ListPodSandboxStats, api.ListPodSandboxStatsRequest())
            timer.call(f"metrics of {PODS} pods", client.ListPodSandboxMetrics, api.ListPodSandboxMetricsRequest())
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(lambda pod: remove_pod(client, pod), pods))
    return {
        "pods/s": rate,
        "MiB per pod that has just started": (after - before) / PODS / MIB,
        "MiB per idle pod": (idle - before) / PODS / MIB,
        "idle daemon MiB": before / MIB,
        **timer.medians(),
    }


def burst(daemon: Daemon, image: str, logs: Path) -> Figures:
    """A node that is drained onto this one: seconds from the first request until all pods run."""
    with daemon.client() as client, ThreadPoolExecutor(BURST_PARALLEL) as pool:
        started = time.perf_counter()
        names = [f"burst-{index}" for index in range(BURST)]
        pods = [pod for pod, _ in pool.map(lambda name: start_pod(client, name, logs, image, SLEEP), names)]
        elapsed = time.perf_counter() - started
        list(pool.map(lambda pod: remove_pod(client, pod), pods))
    return {f"{BURST} pods at {BURST_PARALLEL} at once, s": elapsed}


def own_processes(daemon: Daemon) -> set[int]:
    """The daemon, what it has started and the shims; not what runs inside containers."""
    shims = set(_shims(daemon))
    inside = {pid for shim in shims for pid in tree_of(shim)} - shims
    return {*tree_of(daemon.process.pid), *shims} - inside


def _shims(daemon: Daemon) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if command.startswith(daemon.shim_pattern):
                found.append(int(entry.name))
    return found


def logging(daemon: Daemon, image: str, logs: Path) -> Figures:
    """MiB/s from a container that writes lines of 100 bytes to its log, and what the daemon and its shims spend on it.

    The lines come from a file: the container must not be what takes the time.
    """
    lines = f"yes {'x' * 99} | head -c {1 << 20} >lines"
    command = ["/bin/sh", "-c", f"{lines}; cat $(yes lines | head -n {LOG_MIB})"]
    with daemon.client() as client:
        pod, container = start_pod(client, "logger", logs, image, command)
        before = cpu_of(own_processes(daemon))
        started = time.perf_counter()
        request = api.ContainerStatusRequest(container_id=container)
        while client.ContainerStatus(request).status.state != api.ContainerState.CONTAINER_EXITED:
            time.sleep(0.01)
        elapsed = time.perf_counter() - started
        cpu = cpu_of(own_processes(daemon)) - before
        remove_pod(client, pod)
    return {"log MiB/s": LOG_MIB / elapsed, "log, CPU ms per MiB": cpu * 1e3 / LOG_MIB}


def pulling(daemon: Daemon, image: str, _logs: Path) -> Figures:
    """Seconds from an empty store to an image that can be run; the registry has it in the page cache."""
    spec = api.ImageSpec(image=image)
    times = []
    with daemon.client() as client:
        for _ in range(PULLS):
            started = time.perf_counter()
            client.PullImage(api.PullImageRequest(image=spec))
            times.append(time.perf_counter() - started)
            client.RemoveImage(api.RemoveImageRequest(image=spec))
    return {"pull of 150 MB, s": statistics.median(times)}
