"""Crash points: die at a named step, start again, and look whether anything was lost, left or doubled.

    make crash POINTS=1000 SEED=7
    make crash ACTION='errno(ENOSPC)'     what a failing disk does at the same steps

A round arms one failpoint to kill its process at its first or second passing, and lets a kubelet run a pod from
pull to removal. If the daemon dies it is started again, half the time with another failpoint armed, which may be passed
during the recovery. The kubelet repeats its verb. Then:

    I1  CRI answers soon after the start
    I2  no process, mount, link, address, lease, cgroup, snapshot, blob or directory without an owner
    I3  the kubelet's verb succeeds in at most three tries
    I4  never two workloads of one container
    I5  containers of other pods run on untouched
    I6  no exit code is lost
    I7  no log line is lost or doubled

Nodes work side by side, each in PID, mount and network namespaces of its own (test/fault/alone), so that every process
it sees is the node's: the first on the embedded network, the second on real CNI plugins, and so on. Points named shim.*
kill the pod's shim: its containers die with it, so I6 and I7 hold for the other pods only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from cri import api
from rig.cgroups import ensure_cgroups, remove_cgroups
from rig.failpoints import failpoints
from rig.images import BuiltImage, build, busybox, files, layer, push
from rig.kubelet import EXIT_CODE, LINES, Failure, Kubelet
from rig.node import Node, wait_until
from rig.patience import patient
from rig.registry import running_registry
from rig.strays import Baseline, strays
from rig.witness import Witness

ANSWER = 2.5
"""Seconds to the first answer (I1), not counting those in which other processes had the processors: one from when the
daemon's modules are loaded, which takes half a second here, twice that on a bad day."""
TRIES = 3
BACKOFF = 0.5
"""Seconds between them: a kubelet waits longer."""
SKIPS = (0, 0, 0, 0, 0, 0, 1, 2)
"""Passings to let go by: most steps are taken once or twice in a pod's life."""
NETWORKS = ("builtin", "cni")
_OTHERS_STEPS = {"builtin": "cni.", "cni": "bridge."}
"""Which steps a node on that network never takes."""
_RECOVERY = ("recover.", "sweep.")
_ABOUT_SHIMS = {"shim.start.directory", "shim.start.forked", "shim.remove.ended", "shim.remove.swept"}
"""Steps of crispd."""
_CANNOT_FAIL = {"snapshot.prepare.renamed", "snapshot.commit.renamed", "image.remove.forgotten"}
"""Steps behind which nothing asks the disk for anything until the caller hears of the success."""
_DEAF = {"container.stop.killed"}
"""Steps that are taken only when a container does not end by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    name: str
    skip: int
    """Passings before the one that counts."""
    action: str
    """Of core.failpoint."""

    @property
    def armed(self) -> str:
        return f"{self.name}={self.skip}*off->{self.action}"

    @property
    def kills_shim(self) -> bool:
        return self.action == "kill" and self.name.startswith("shim.") and self.name not in _ABOUT_SHIMS


def random_rounds(count: int, names: Sequence[str], action: str, choose: random.Random) -> list[list[Point]]:
    """Every failpoint first about as often, at random passings, in random order; half of them with a second one, which
    is half the time a step of the recovery."""
    recovery = [name for name in names if name.startswith(_RECOVERY)]
    usual = [name for name in names if not name.startswith(_RECOVERY)]
    order: list[str] = []
    while len(order) < count:
        order += choose.sample(usual, len(usual))
    del order[count:]
    seconds = [[choose.choice(choose.choice((recovery or names, names)))] * choose.choice((0, 1)) for _ in order]
    return [
        [Point(name=name, skip=choose.choice(SKIPS), action=action) for name in (first, *second)]
        for first, second in zip(order, seconds)
    ]


class Trigger:
    """The file that the daemon and all it forks read their failpoints from (core.failpoint)."""

    def __init__(self, base: Path) -> None:
        self._path = base / "armed"
        self.setting = f"@{self._path}"

    def arm(self, point: Point) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(point.armed)
        fresh.rename(self._path)

    def disarm(self) -> None:
        self._path.unlink(missing_ok=True)

    @property
    def armed(self) -> bool:
        """Whether nobody has come to the point yet."""
        return self._path.exists()


class Crashed(Exception):
    """The daemon died as it started, of the point that was armed for that."""


class Rig:
    """A node with a witness, whose daemon is killed and started again."""

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


def _words(failure: Exception) -> str:
    return str(failure.details()) if isinstance(failure, grpc.Call) else repr(failure)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _kept_waiting(pid: int) -> float:
    """Seconds for which a process could have run while others did: they say nothing about it (kernel,
    Documentation/scheduler/sched-stats.rst)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


class Round:
    """A pod's life against points that are armed one after the other."""

    def __init__(self, rig: Rig, points: Sequence[Point]) -> None:
        self._rig = rig
        self._points = list(points)
        self.hit: list[Point] = []
        self.problems: list[str] = []
        self._kubelet = Kubelet(rig.node, rig.client, deaf=any(point.name in _DEAF for point in points))
        self._armed: Point | None = None

    def run(self) -> None:
        kubelet = self._kubelet
        self._arm()
        lived = all(map(self._repeat, (kubelet.pull, kubelet.run, kubelet.exec, kubelet.run_to_end)))
        self._look()
        if lived and not any(point.kills_shim for point in self.hit):
            self._repeat(self._judge)
        for verb in (kubelet.remove, kubelet.remove_image):
            self._repeat(verb)
        self._look()
        self._rig.trigger.disarm()
        self._settle()
        self.problems += self._rig.witness.problems(self._rig.client)

    def _judge(self) -> None:
        code, log = self._kubelet.outcome()
        if code != EXIT_CODE:
            self.problems.append(f"I6: exit code {code}")
        if log != [f"line {number}" for number in range(LINES)]:
            self.problems.append(f"I7: {len(log)} lines")

    def _repeat(self, verb: Callable[[], None]) -> bool:
        """Whether it succeeded in the end."""
        for attempt in range(1, TRIES + 2):
            try:
                verb()
                break
            except Failure as exc:
                self._recover()
                if attempt > TRIES:
                    self.problems.append(f"I3: {verb.__name__} fails after {TRIES} tries: {_words(exc)}")
                    return False
                time.sleep(BACKOFF)
        if self._kubelet.workloads() > 1:
            self.problems.append("I4: two workloads")
        return True

    def _arm(self) -> None:
        if self._points:
            self._armed = self._points.pop(0)
            self._rig.trigger.arm(self._armed)

    def _look(self) -> None:
        """Note it when the armed point has been hit."""
        if self._armed and not self._rig.trigger.armed:
            self.hit.append(self._armed)
            self._armed = None

    def _recover(self) -> None:
        """Let the daemon have seen to what has died, or bring it back itself."""
        while True:
            while not self._rig.answers():
                self._bring_back()
            self._kubelet.client = self._rig.client
            with contextlib.suppress(grpc.RpcError):  # it has died of the next point
                return wait_until(self._kubelet.is_pod_alive, "the death of a shim is noticed")

    def _bring_back(self) -> None:
        """The next point is armed before the daemon starts."""
        self._look()
        if self._armed or not self.hit:
            self.problems.append("the daemon has ended by itself")
        self._arm()
        with contextlib.suppress(Crashed):
            self.problems += self._rig.restart()

    def _settle(self) -> None:
        """Exits and deaths are seen to in the background: wait for what must become true."""
        rig = self._rig
        self._recover()
        try:
            wait_until(lambda: not strays(rig.node, rig.client, rig.before), "no strays", 5)
        except AssertionError:
            self.problems += [f"I2: {stray}" for stray in strays(rig.node, rig.client, rig.before)]


def crash(base: Path, network: str, rounds: list[list[Point]], report: Callable[[list[str]], None]) -> dict[str, int]:
    """Make the rounds on a node of that network; report each violation, and return how often each point was hit.

    Raises what a broken rig does.
    """
    hit: Counter[str] = Counter()
    with running_registry(base / "registry") as registry:
        node = Node(base, push(busybox(), registry, "library/busybox", "1.36"))
        if network == "cni":
            configure_plugins(base)
        rig = Rig(node, push(_other_image(), registry, "test/other", "1"))
        for points in rounds:
            os.truncate(base / "crispd.log", 0)
            one = Round(rig, points)
            one.run()
            hit.update(point.name for point in one.hit)
            if one.problems:
                log = _keep(base / "crispd.log")
                report([f"{' then '.join(point.armed for point in points)}: {each} ({log})" for each in one.problems])
                rig.reset()
        rig.end()
    return hit


def _keep(log: Path) -> str:
    """Where what the daemon said in a round can be read afterwards."""
    kept, name = tempfile.mkstemp(prefix="crash-", suffix=".log")
    os.close(kept)
    shutil.copy(log, name)
    return name


def configure_plugins(base: Path) -> None:
    """The plugins that nodes have, with all their files in `base`."""
    ipam = {"type": "host-local", "dataDir": str(base / "ipam"), "ranges": [[{"subnet": "10.91.0.0/24"}]]}
    bridge = {"type": "bridge", "bridge": "crisptest1", "isGateway": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    (base / "net.d").mkdir()
    document = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, portmap]}
    (base / "net.d/10-pods.conflist").write_text(json.dumps(document))


def _other_image() -> BuiltImage:
    """With a layer that no other image needs, and a volume: they come and go with each round."""
    image = busybox()
    config = {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Volumes": {"/data": {}}}
    return build([*image.layers, layer(files({"etc/other": b"other"}))], config=config)


def work(arguments: argparse.Namespace) -> int:
    """One node's share, in this process; its last line is what `lead` adds up."""
    network = NETWORKS[arguments.node % len(NETWORKS)]
    names = [name for name in failpoints() if not name.startswith(_OTHERS_STEPS[network]) and arguments.only in name]
    if arguments.action != "kill":
        names = [name for name in names if name not in _CANNOT_FAIL]
    choose = random.Random(f"{arguments.seed} {arguments.node}")
    rounds = random_rounds(arguments.points, names, arguments.action, choose)
    violations: list[str] = []

    def report(problems: list[str]) -> None:
        violations.extend(problems)
        for problem in problems:
            print(f"node {arguments.node}: {problem}", flush=True)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as base:
        (Path(base) / "registry").mkdir()
        (Path(base) / "logs").mkdir()
        hit = crash(Path(base), network, rounds, report)
    print(json.dumps({"hit": hit, "violations": len(violations), "names": names}), flush=True)
    return min(len(violations), 1)


def lead(arguments: argparse.Namespace) -> int:
    """Let nodes work side by side and sum up."""
    print(f"seed {arguments.seed}", flush=True)
    ensure_cgroups()
    begun = time.monotonic()
    with ThreadPoolExecutor(arguments.nodes) as threads:
        results = list(threads.map(lambda node: _watch(arguments, node), range(arguments.nodes)))
    hit = sum((Counter(result["hit"]) for result in results), Counter[str]())
    violations = sum(result["violations"] for result in results)
    missed = sorted({name for result in results for name in result["names"]} - set(hit))
    took = time.monotonic() - begun
    print(f"{hit.total()} hits at {len(hit)} steps in {took:.0f} s, {violations} violations", flush=True)
    if missed:
        print(f"never reached: {', '.join(missed)}")
    return min(violations, 1)


def _watch(arguments: argparse.Namespace, node: int) -> dict[str, Any]:
    """Run a node's share in namespaces of its own, pass on what it prints, return its result."""
    share = len(range(node, arguments.points, arguments.nodes))
    options = {**vars(arguments), "points": share, "node": node}
    command = [Path(__file__).with_name("alone"), sys.executable, __file__]
    command += [f"--{name}={value}" for name, value in options.items()]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = ""
        for line in process.stdout:
            if not line.startswith("{"):
                print(line, end="", flush=True)
    if not line.startswith("{"):
        raise RuntimeError(f"node {node} has ended before its time")
    return dict(json.loads(line))


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill crispd and its shims at named steps; 1 when an invariant broke.")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 16))
    parser.add_argument("--only", default="", help="points whose name contains this")
    parser.add_argument("--action", default="kill", help="what happens there (core.failpoint): errno(EIO)")
    parser.add_argument("--nodes", type=int, default=2 * len(NETWORKS), help="how many, side by side")
    parser.add_argument("--node", type=int, default=-1, help="do this node's share here, alone")
    arguments = parser.parse_args()
    return lead(arguments) if arguments.node < 0 else work(arguments)


if __name__ == "__main__":
    sys.exit(main())
