"""A node with a witness, whose daemon is killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import grpc

from cri import api
from rig.cgroups import remove_cgroups
from rig.crash_points import Trigger
from rig.node import Node
from rig.patience import patient
from rig.strays import Baseline
from rig.witness import Witness

ANSWER = 2.5
"""Seconds to the first answer (I1), not counting those in which other processes had the processors: one from when the
daemon's modules are loaded, which takes half a second here, twice that on a bad day."""


class Crashed(Exception):
    """The daemon died as it started, of the point that was armed for that."""


class MortalNode:
    def __init__(self, node: Node, other_image: str) -> None:
        self.node = node
        self.trigger = Trigger(node.base)
        with node.start() as client:
            client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=node.image)))
            self.witness = Witness(node, client)
        node.end(signal.SIGTERM)
        self.before = Baseline.of(node)
        node.image = other_image
        self.client = node.start(self.trigger.setting)

    def answers(self) -> bool:
        """Whether the daemon does; else it has ended when this returns."""
        assert self.node.process
        try:
            self.client.Version(api.VersionRequest())
            return True
        except grpc.RpcError:
            self.node.process.wait(timeout=patient(30))
            return False

    def restart(self) -> list[str]:
        """Start the daemon that has died; return the problem that it answers late. Raises Crashed."""
        self.client.close()
        begun = time.monotonic() - _kept_waiting(os.getpid())
        self.client = self.node.launch(self.trigger.setting)
        assert self.node.process
        while not _listens(self.node.base / "run/crisp.sock"):
            if self.node.process.poll() is not None:
                raise Crashed
            time.sleep(0.01)  # between looks at the condition
        try:
            self.client.Version(api.VersionRequest())
        except grpc.RpcError:
            raise Crashed from None
        took = time.monotonic() - begun - _kept_waiting(os.getpid()) - _kept_waiting(self.node.process.pid)
        return [f"I1: CRI answers after {took:.2f} s"] if took > ANSWER else []

    def reset(self) -> None:
        """Let what has gone wrong in one round not go wrong again in the next."""
        self.node.end(signal.SIGKILL)
        self.restart()
        for pod in self.client.ListPodSandbox(api.ListPodSandboxRequest()).items:
            if pod.id != self.witness.pod:
                self.client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod.id))

    def end(self) -> None:
        """Leave the node as it was before."""
        self.client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=self.witness.pod))
        self.client.close()
        self.node.end(signal.SIGTERM)
        remove_cgroups(f"/{self.node.cgroup}")


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _kept_waiting(pid: int) -> float:
    """Seconds for which a process could have run while others did: they say nothing about it (kernel,
    Documentation/scheduler/sched-stats.rst)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
