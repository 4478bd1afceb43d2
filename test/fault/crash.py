"""Crash points: die at a named step, start again, and look whether anything was lost, left or doubled.

    make crash POINTS=1000 SEED=7

A round arms one failpoint to kill its process at its first or second passing, and lets a kubelet run a pod from
pull to removal. Whatever dies, the daemon is started again without failpoints and the kubelet repeats its verb. Then:

    I1  CRI answers soon after the start
    I2  no process, mount, link, lease, cgroup, snapshot or directory without an owner
    I3  the kubelet's verb succeeds in at most three tries
    I4  never two workloads of one container
    I5  containers of other pods run on untouched
    I6  no exit code is lost
    I7  no log line is lost or doubled

It runs in PID, mount and network namespaces of its own (test/fault/alone), so every shim it sees is the node's. Points
named shim.* kill the pod's shim: its containers die with it, so I6 and I7 hold for the other pods only.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cri import api
from rig.cgroups import ensure_cgroups
from rig.cri_client import CriClient
from rig.failpoints import failpoints
from rig.images import BuiltImage, build, busybox, files, layer, push
from rig.kubelet import EXIT_CODE, LINES, Failure, Kubelet
from rig.node import Node, wait_until
from rig.registry import running_registry

ANSWER = 1.0
"""Seconds to the first answer (I1), beyond twice what a daemon with nothing to recover takes on this machine now."""
TRIES = 3
SKIPS = (0, 0, 0, 1)
"""Passings to let go by: most steps are taken once or twice in a pod's life."""
_ABOUT_SHIMS = {"shim.start.directory", "shim.start.forked", "shim.remove.ended", "shim.remove.swept"}
"""Steps of crispd."""
_WITNESS = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.05; done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    name: str
    skip: int
    """Passings before the one that kills."""

    @property
    def armed(self) -> str:
        return f"{self.name}={self.skip}*off->kill"

    @property
    def kills_shim(self) -> bool:
        return self.name.startswith("shim.") and self.name not in _ABOUT_SHIMS


def random_points(count: int, seed: int) -> list[Point]:
    """Every failpoint about as often, at random passings, in random order."""
    choose = random.Random(seed)
    names = failpoints()
    points = [Point(name=names[at % len(names)], skip=choose.choice(SKIPS)) for at in range(count)]
    choose.shuffle(points)
    return points


class Witness:
    """A pod from before all crashes, which writes a line every so often."""

    def __init__(self, node: Node, client: CriClient) -> None:
        config = node.pod()
        self.pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=config)).pod_sandbox_id
        request = api.CreateContainerRequest(
            pod_sandbox_id=self.pod, config=node.container(_WITNESS), sandbox_config=config
        )
        self.container = client.CreateContainer(request).container_id
        client.StartContainer(api.StartContainerRequest(container_id=self.container))
        self._log = Path(config.log_directory, "main.log")
        status = client.ContainerStatus(api.ContainerStatusRequest(container_id=self.container, verbose=True))
        self._pid = int(json.loads(status.info["info"])["pid"])
        self._started = self._start_time()

    def problems(self, client: CriClient) -> list[str]:
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


def strays(node: Node, client: CriClient) -> list[str]:
    """I2: what bears the id of nothing that the daemon lists. Processes: in this PID namespace, the node's alone."""
    pods = {pod.id: pod for pod in client.ListPodSandbox(api.ListPodSandboxRequest()).items}
    ready = {id_ for id_, pod in pods.items() if pod.state == api.PodSandboxState.SANDBOX_READY}
    containers = {one.id for one in client.ListContainers(api.ListContainersRequest()).containers}
    kinds = {"run/sandboxes": pods, "run/etc": pods, "run/containers": containers}
    found = [
        str(path) for kind, owners in kinds.items() for path in (node.base / kind).glob("*") if path.name not in owners
    ]
    found += [str(path) for path in node.base.glob("root/leases/*.json") if path.stem not in ready]
    found += [name for name in _snapshots(node) if name not in containers]
    found += [line for line in _mounts(node) if not any(id_ in line for id_ in (*pods, *containers))]
    found += [f"process {line}" for line in _processes() if not any(id_ in line for id_ in pods)]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{node.cgroup}/*/") if path.name not in containers]
    links = [name for _, name in socket.if_nameindex() if name.startswith("veth")]
    return found if len(links) == len(ready) else [*found, f"{len(links)} links for {len(ready)} pods: {links}"]


def _snapshots(node: Node) -> list[str]:
    metas = [json.loads(path.read_text()) for path in node.base.glob("root/snapshots/*/meta.json")]
    staged = [path.name for path in node.base.glob("root/snapshots/*") if path.name.startswith(("new-", "rm-"))]
    return staged + [meta["name"] for meta in metas if meta["kind"] != "committed"]


def _mounts(node: Node) -> list[str]:
    lines = Path("/proc/mounts").read_text().splitlines()
    return [line for line in lines if line.split()[1].startswith(str(node.base))]


def _processes() -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().startswith(("crisp-shim", "crisp-init")):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


class Round:
    """One crash point against one pod's life."""

    def __init__(self, node: Node, point: Point, witness: Witness, patience: float) -> None:
        """CRI must answer within `patience` seconds of a start."""
        self._node = node
        self._patience = patience
        self._point = point
        self._witness = witness
        self.problems: list[str] = []
        self.crashed = False
        self._client = node.start(point.armed)
        self._kubelet = Kubelet(node, self._client)

    def run(self) -> None:
        kubelet = self._kubelet
        for verb in (kubelet.pull, kubelet.run, kubelet.run_to_end):
            self._repeat(verb)
        if not self._point.kills_shim:
            self._judge(*kubelet.outcome())
        for verb in (kubelet.remove, kubelet.remove_image):
            self._repeat(verb)
        self._settle()
        self.problems += self._witness.problems(self._client)
        self._client.close()
        self._node.end(signal.SIGTERM)

    def _judge(self, code: int, log: list[str]) -> None:
        if code != EXIT_CODE:
            self.problems.append(f"I6: exit code {code}")
        if log != [f"line {number}" for number in range(LINES)]:
            self.problems.append(f"I7: {len(log)} lines")

    def _repeat(self, verb: Callable[[], None]) -> None:
        for attempt in range(1, TRIES + 2):
            try:
                verb()
                break
            except Failure as exc:
                if attempt > TRIES:
                    self.problems.append(f"I3: {verb.__name__} fails after {TRIES} tries: {exc}")
                    return
                self._restart()
        if self._kubelet.workloads() > 1:
            self.problems.append("I4: two workloads")

    def _restart(self) -> None:
        assert self._node.process
        self.crashed = True
        if self._node.process.poll() is None:  # it was the shim or an unpacker that died
            self._node.end(signal.SIGKILL)
        self._node.process.wait()
        self._client.close()
        begun = time.monotonic()
        self._client = self._kubelet.client = self._node.start()
        self._client.Version(api.VersionRequest())
        if (took := time.monotonic() - begun) > self._patience:
            self.problems.append(f"I1: CRI answers after {took:.2f} s")

    def _settle(self) -> None:
        """Exits and deaths are seen to in the background: wait for what must become true."""
        try:
            wait_until(lambda: not strays(self._node, self._client), "no strays", 5)
        except AssertionError:
            self.problems += [f"I2: {stray}" for stray in strays(self._node, self._client)]


def crash(base: Path, points: list[Point], report: Callable[[str], None]) -> int:
    """Run a round for every point; report each violation; return how many there were. Raises what a broken rig does."""
    ensure_cgroups()
    hit: Counter[str] = Counter()
    violations = 0
    with running_registry(base / "registry") as registry:
        image = push(busybox(), registry, "library/busybox", "1.36")
        node = Node(base, image)
        begun = time.monotonic()
        with node.start() as client:
            patience = 2 * (time.monotonic() - begun) + ANSWER
            client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=image)))
            witness = Witness(node, client)
        node.end(signal.SIGTERM)
        node.image = push(_other_image(), registry, "test/other", "1")
        for number, point in enumerate(points):
            one = Round(node, point, witness, patience)
            one.run()
            hit[point.name] += one.crashed
            violations += len(one.problems)
            for problem in one.problems:
                report(f"{number} {point.armed}: {problem}")
        _leave(node, witness)
    missed = sorted({point.name for point in points} - {name for name, count in hit.items() if count})
    report(f"{sum(hit.values())} crashes of {len(points)} rounds at {len(+hit)} steps, {violations} violations")
    if missed:
        report(f"never reached: {', '.join(missed)}")
    return violations


def _other_image() -> BuiltImage:
    """With a layer that no other image needs: it comes and goes with each round."""
    image = busybox()
    return build([*image.layers, layer(files({"etc/other": b"other"}))], config={"Env": ["PATH=/bin"], "Cmd": ["sh"]})


def _leave(node: Node, witness: Witness) -> None:
    with node.start() as client:
        client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=witness.pod))
        wait_until(lambda: not strays(node, client), "all is removed", 10)
    node.end(signal.SIGTERM)
    for directory in Path("/sys/fs/cgroup").glob(f"*/{node.cgroup}"):
        directory.rmdir()


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill crispd and its shims at named steps; 1 when an invariant broke.")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 16))
    parser.add_argument("--only", default="", help="points whose name contains this")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    points = [point for point in random_points(arguments.points, arguments.seed) if arguments.only in point.name]
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "registry").mkdir()
        (Path(base) / "logs").mkdir()
        return min(crash(Path(base), points, lambda text: print(text, flush=True)), 1)


if __name__ == "__main__":
    sys.exit(main())
