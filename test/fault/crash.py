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
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rig.cgroups import ensure_cgroups
from rig.crash_points import Point, random_rounds
from rig.crash_round import ROOTED, Round
from rig.failpoints import failpoints
from rig.images import BuiltImage, build, busybox, files, layer, push
from rig.mortal_node import MortalNode
from rig.node import Node
from rig.registry import running_registry

ROOTED_HANDLER = """
[runtimes.{name}]
binary = "/usr/bin/crun"
infra_image = "{image}"
"""
NETWORKS = ("builtin", "cni")
_OTHERS_STEPS = {"builtin": "cni.", "cni": "bridge."}
"""Which steps a node on that network never takes."""
_ELSEWHERE = {"shim.start.foreign", "sandbox.run.agreed", "container.create.adjusted"}
"""Steps of nodes with a shim of somebody else's, or with a plugin of NRI."""
_CANNOT_FAIL = {"snapshot.prepare.renamed", "snapshot.commit.renamed", "image.remove.forgotten", "shim.exit.seen"}
"""Steps behind which nothing asks the disk for anything until the caller hears of the success."""


def crash(base: Path, network: str, rounds: list[list[Point]], report: Callable[[list[str]], None]) -> dict[str, int]:
    """Make the rounds on a node of that network; report each violation, and return how often each point was hit.

    Raises what a broken rig does.
    """
    hit: Counter[str] = Counter()
    with running_registry(base / "registry") as registry:
        node = Node(base, push(busybox(Cmd=["sleep", "1000000"]), registry, "library/busybox", "1.36"))
        node.configure(ROOTED_HANDLER.format(name=ROOTED, image=node.image))
        if network == "cni":
            configure_plugins(base)
        mortal = MortalNode(node, push(_other_image(), registry, "test/other", "1"))
        for points in rounds:
            os.truncate(base / "crispd.log", 0)
            one = Round(mortal, points)
            one.run()
            hit.update(point.name for point in one.hit)
            if one.problems:
                log = _keep(base / "crispd.log")
                report([f"{' then '.join(point.armed for point in points)}: {each} ({log})" for each in one.problems])
                mortal.reset()
        mortal.end()
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
    names = [name for name in _steps(network, arguments.action) if arguments.only in name]
    choose = random.Random(f"{arguments.seed} {arguments.node}")
    rounds = [[Point(name=name, skip=0, action=arguments.action)] for name in _own_first(arguments)]
    rounds += random_rounds(arguments.points - len(rounds), names, arguments.action, choose)
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


def _steps(network: str, action: str) -> list[str]:
    """Those that a node on that network takes, and at which `action` makes sense."""
    others = _ELSEWHERE | (_CANNOT_FAIL if action != "kill" else set())
    return [name for name in failpoints() if not name.startswith(_OTHERS_STEPS[network]) and name not in others]


def _own_first(arguments: argparse.Namespace) -> list[str]:
    """This node's share of the steps that are to come first: each is some node's that takes it."""
    own = []
    for number, name in enumerate(filter(None, arguments.first.split(","))):
        takers = [
            node for node in range(arguments.nodes) if name in _steps(NETWORKS[node % len(NETWORKS)], arguments.action)
        ]
        if takers[number % len(takers)] == arguments.node:
            own.append(name)
    return own


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
    parser.add_argument("--first", default="", help="points that come before those at random, with commas")
    parser.add_argument("--action", default="kill", help="what happens there (core.failpoint): errno(EIO)")
    parser.add_argument("--nodes", type=int, default=2 * len(NETWORKS), help="how many, side by side")
    parser.add_argument("--node", type=int, default=-1, help="do this node's share here, alone")
    arguments = parser.parse_args()
    return lead(arguments) if arguments.node < 0 else work(arguments)


if __name__ == "__main__":
    sys.exit(main())
