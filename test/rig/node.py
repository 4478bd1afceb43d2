"""A crispd on directories and a network of its own, which tests kill and start again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from cri import api
from rig.cri_client import CriClient
from rig.patience import patient

CONFIG = """version = 1
root = "{base}/root"
state = "{base}/run"
[grpc]
address = "{base}/run/crisp.sock"
[cni]
conf_dir = "{base}/net.d"
builtin = true
bridge = "crisptest0"
subnet = "10.90.0.0/24"
[nri]
enable = {nri}
socket = "{base}/nri/nri.sock"
plugin_dir = "{base}/plugins"
config_dir = "{base}/plugin-config"
registration_timeout = 2
request_timeout = 1
{extra}
"""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(patient(0.02))  # between looks at the condition


_OURS = ("crisp-shim", "crisp-worker", "crisp-init")
"""Names of processes that belong to a pod."""


class Node:
    """A crispd that can be killed and started again, and what a test makes with it."""

    def __init__(self, base: Path, image: str) -> None:
        self.base = base
        self.image = image
        self.logs = base / "logs"
        self.cgroup = f"crisp-critest-{uuid.uuid4()}"
        """Parent of all pods' cgroups, as the kubelet would make it: no other run's."""
        self.process: subprocess.Popen[bytes] | None = None
        self.sandboxes: set[str] = set()
        """Ids of all that were run here."""
        self.configure("")

    def configure(self, extra: str, *, nri: bool = False) -> None:
        """Sections beyond the common ones, and whether NRI is served, for the next start."""
        text = CONFIG.format(base=self.base, extra=extra, nri=str(nri).lower())
        (self.base / "config.toml").write_text(text)

    def start(self, failpoints: str = "") -> CriClient:
        """Start the daemon; return when it answers. `failpoints` as core.failpoint has them."""
        client = self.launch(failpoints)
        client.wait_ready()
        return client

    def launch(self, failpoints: str = "") -> CriClient:
        """Start the daemon, which may die before it answers."""
        with (self.base / "crispd.log").open("ab") as log:
            command = [sys.executable, "-m", "cri", "--config", str(self.base / "config.toml")]
            environment = {**os.environ, "CRISP_FAILPOINTS": failpoints}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        return CriClient(str(self.base / "run/crisp.sock"))

    def end(self, signum: int) -> None:
        assert self.process
        self.process.send_signal(signum)
        self.process.wait(timeout=patient(30))

    def pod(self, **linux: object) -> api.PodSandboxConfig:
        uid = str(uuid.uuid4())
        (self.logs / uid).mkdir(parents=True)
        return api.PodSandboxConfig(
            metadata=api.PodSandboxMetadata(name="pod", namespace="test", uid=uid),
            hostname="pod",
            log_directory=str(self.logs / uid),
            labels={"uid": uid},
            linux=api.LinuxPodSandboxConfig(cgroup_parent=f"/{self.cgroup}", **linux),
        )

    def container(self, script: str, name: str = "main") -> api.ContainerConfig:
        return api.ContainerConfig(
            metadata=api.ContainerMetadata(name=name),
            image=api.ImageSpec(image=self.image),
            command=["/bin/sh", "-c", script],
            log_path=f"{name}.log",
        )

    def left(self) -> list[str]:
        """What still bears the node's name: mounts, processes, links, directories of objects."""
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if str(self.base) in line]
        kinds = ("sandboxes/*", "roots/*", "containers/*", "etc/*", "../root/volumes/*", "../root/leases/*.json")
        objects = [str(path) for kind in kinds for path in self.base.glob(f"run/{kind}")]
        roots = [str(meta) for meta in self.base.glob("root/snapshots/*/meta.json") if "root-" in meta.read_text()]
        return [*mounts, *objects, *roots, *map(str, self.processes())]

    def wait_swept(self, why: str = "") -> None:
        """Wait until nothing is left: crispd sweeps and removes in the background."""
        wait_until(lambda: not self.left(), f"nothing is left {why}")

    def processes(self) -> list[int]:
        """Shims and inits that show the id of one of this node's sandboxes."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "comm").read_text().startswith(_OURS) and self._owns(entry):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def _owns(self, process: Path) -> bool:
        words = (process / "cmdline").read_bytes().rstrip(b"\0").decode().split()  # none when it is just ending
        return bool(words) and words[-1] in self.sandboxes
