"""What a kubelet wants of a node, asked for again and again until it is so."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import grpc

from cri import api
from rig.cri_client import CriClient
from rig.node import Node
from rig.processes import shims_of

GRACE = 1
"""Seconds to end in, which a deaf container lets pass."""
EXIT_CODE = 7
HOST_PORT = 8080
LINES = 200
"""What the short container writes before it ends."""
DEADLINE = 30
"""Seconds for one call: far beyond any step."""

_ONCE = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; exit {EXIT_CODE}"
CREATED, RUNNING, EXITED = (
    api.ContainerState.CONTAINER_CREATED,
    api.ContainerState.CONTAINER_RUNNING,
    api.ContainerState.CONTAINER_EXITED,
)


class Kubelet:
    """One pod with a host port, a container that runs on and one that ends.

    Every verb looks what there is first, as the kubelet's sync loop does, so it can be repeated after any failure.
    """

    def __init__(self, node: Node, client: CriClient, *, handler: str = "", deaf: bool = False) -> None:
        """`handler` is the pod's. A `deaf` container lets SIGTERM pass."""
        self._node = node
        self._run_on = "trap '' TERM; " * deaf + "exec sleep"
        self._handler = handler
        self.client = client
        self.token = str(random.randrange(10**8, 10**9))
        """How many seconds the first container sleeps: tells its process from all others."""
        self._config = node.pod()
        self._config.port_mappings.add(container_port=80, host_port=HOST_PORT)
        self._attempts = 0

    def pull(self) -> None:
        self._call("PullImage", image=api.ImageSpec(image=self._node.image))

    def run(self) -> None:
        self._main()

    def exec(self) -> None:
        reply = self._call("ExecSync", container_id=self._main(), cmd=["/bin/echo", self.token], timeout=DEADLINE)
        if (reply.exit_code, reply.stdout) != (0, f"{self.token}\n".encode()):
            raise ValueError(f"exec: {reply}")

    def _main(self) -> str:
        return self._ensure(self._ready_pod(), "main", f"{self._run_on} {self.token}", RUNNING)

    def run_to_end(self) -> None:
        pod = self._ready_pod()
        container = self._ensure(pod, "once", _ONCE, RUNNING, EXITED)
        deadline = time.monotonic() + DEADLINE
        while self._status(container).state != EXITED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"container {container} does not end")
            time.sleep(0.02)  # between looks at the condition

    def outcome(self) -> tuple[int, list[str]]:
        """Exit code and log of the container that has ended."""
        (found,) = [one for one in self._containers() if one.metadata.name == "once"]
        status = self._status(found.id)
        lines = Path(status.log_path).read_text().splitlines()
        return status.exit_code, [line.split(" ", 3)[3] for line in lines]

    def remove(self) -> None:
        for container in self._containers():
            self._call("StopContainer", container_id=container.id, timeout=GRACE)
            self._call("RemoveContainer", container_id=container.id)
        for pod in self._pods():
            self._call("StopPodSandbox", pod_sandbox_id=pod.id)
            self._call("RemovePodSandbox", pod_sandbox_id=pod.id)

    def remove_image(self) -> None:
        self._call("RemoveImage", image=api.ImageSpec(image=self._node.image))

    def is_pod_alive(self) -> bool:
        """Whether each ready pod has a shim: the death of one takes the daemon a moment, and a kubelet longer."""
        return all(shims_of(pod.id) for pod in self._pods() if pod.state == api.PodSandboxState.SANDBOX_READY)

    def workloads(self) -> int:
        """Processes that are the first of the container that runs on."""
        found = 0
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            found += words[:2] == [b"sleep", self.token.encode()]
        return found

    def _ready_pod(self) -> str:
        for pod in self._pods():
            if pod.state == api.PodSandboxState.SANDBOX_READY:
                return str(pod.id)
            self._call("StopPodSandbox", pod_sandbox_id=pod.id)
            self._call("RemovePodSandbox", pod_sandbox_id=pod.id)
        self._config.metadata.attempt += 1
        return str(self._call("RunPodSandbox", config=self._config, runtime_handler=self._handler).pod_sandbox_id)

    def _ensure(self, pod: str, name: str, script: str, *wanted: int) -> str:
        """A container of that name in one of the states `wanted`; a failed one is replaced."""
        for container in self._containers():
            if container.metadata.name != name or container.pod_sandbox_id != pod:
                continue
            if container.state in wanted and self._status(container.id).reason != "StartError":
                return str(container.id)
            if container.state == CREATED:
                self._call("StartContainer", container_id=container.id)
                return str(container.id)
            self._call("RemoveContainer", container_id=container.id)
        container_id = self._create(pod, name, script)
        self._call("StartContainer", container_id=container_id)
        return container_id

    def _create(self, pod: str, name: str, script: str) -> str:
        config = self._node.container(script, name)
        self._attempts += 1
        config.metadata.attempt = self._attempts
        config.log_path = f"{name}-{self._attempts}.log"
        reply = self._call("CreateContainer", pod_sandbox_id=pod, config=config, sandbox_config=self._config)
        return str(reply.container_id)

    def _pods(self) -> list[Any]:
        uid = {"uid": self._config.metadata.uid}
        return list(self._call("ListPodSandbox", filter=api.PodSandboxFilter(label_selector=uid)).items)

    def _containers(self) -> list[Any]:
        pods = {pod.id for pod in self._pods()}
        found = [one for one in self._call("ListContainers").containers if one.pod_sandbox_id in pods]
        return sorted(found, key=lambda one: one.created_at, reverse=True)

    def _status(self, container_id: str) -> Any:
        return self._call("ContainerStatus", container_id=container_id).status

    def _call(self, method: str, **fields: Any) -> Any:
        request = getattr(api, f"{method}Request")(**fields)
        return getattr(self.client, method)(request, timeout=DEADLINE)


Failure = (grpc.RpcError, TimeoutError, ValueError)
"""What a verb raises when it must be repeated."""
