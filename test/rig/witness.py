"""A pod from before all crashes, which writes a line every so often and must not notice any of them."""

from __future__ import annotations

import json
from pathlib import Path

from cri import api
from rig.cri_client import CriClient
from rig.node import Node

_LINES = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.05; done"


class Witness:
    def __init__(self, node: Node, client: CriClient) -> None:
        config = node.pod()
        self.pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=config)).pod_sandbox_id
        request = api.CreateContainerRequest(
            pod_sandbox_id=self.pod, config=node.container(_LINES), sandbox_config=config
        )
        self.container = client.CreateContainer(request).container_id
        client.StartContainer(api.StartContainerRequest(container_id=self.container))
        self._log = Path(config.log_directory, "main.log")
        status = client.ContainerStatus(api.ContainerStatusRequest(container_id=self.container, verbose=True))
        self._pid = int(json.loads(status.info["info"])["pid"])
        self._started = self._start_time()

    def problems(self, client: CriClient) -> list[str]:
        """Violations of I5 and I7."""
        status = client.ContainerStatus(api.ContainerStatusRequest(container_id=self.container)).status
        found = []
        if status.state != api.ContainerState.CONTAINER_RUNNING or self._start_time() != self._started:
            found.append(f"I5: the witness is {status.state}")
        lines = [line.split(" ", 3)[3] for line in self._log.read_text().splitlines()]
        if lines != [f"line {number}" for number in range(len(lines))]:
            found.append("I7: the witness' log has gaps or doubles")
        return found

    def _start_time(self) -> str:
        try:
            return Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[19]
        except OSError:
            return ""
