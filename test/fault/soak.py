"""Soak: a node under load for as long as you like, and whether anything grows.

    make soak MINUTES=60 PODS=100

Containers write a line every so often and are probed by execs. Meanwhile pods come and go, images are pulled and
removed, clients attach and vanish, read slowly, or begin requests that they never end. In the first half of the time
the daemon is killed or ended, and started again, every so often; in the second it runs through, so that its own growth
shows. Each minute all callers stand still and what there is is counted. It fails when the last count is above the first
by more than the slack that is named below, when a caller met an error that nobody expects, or when a line is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cri import api
from rig.cgroups import ensure_cgroups, inside, remove_cgroups
from rig.images import build, busybox, files, layer, push
from rig.load import Load, Users
from rig.memory import private_of
from rig.node import Node, wait_until
from rig.processes import shims_of, zygote_of
from rig.registry import running_registry
from rig.strays import Baseline, strays

PERIOD = 60.0
"""Seconds between counts."""
RESTART = 40.0
"""Seconds between restarts of the daemon."""
SLACK = {"memory": 0.25, "fds": 0.1, "threads": 0.1}
"""By how much of its first count a process class may grow: allocators and thread pools settle late."""
_LINES = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Of one class of processes, or of the node's things."""

    memory: int = 0
    """Private bytes."""
    fds: int = 0
    threads: int = 0
    things: int = 0

    @classmethod
    def of(cls, pids: Iterable[int]) -> Count:
        pids = list(pids)
        return cls(
            memory=sum(map(private_of, pids)),
            fds=sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
            threads=sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids),
            things=len(pids),
        )


Counts = dict[str, Count]


class Soak:
    def __init__(self, node: Node, pods: int, other_image: str) -> None:
        self._node = node
        self._client = node.start()
        self._client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=node.image)))
        self._logs: list[Path] = []
        started = [self._start() for _ in range(pods)]
        self._pods = [pod for pod, _ in started]
        self.load = Load()
        self._users = Users(node, self._client, [container for _, container in started], other_image)
        self._before = Baseline.of(node)
        self.counts: list[Counts] = []

    def _start(self) -> tuple[str, str]:
        config = self._node.pod()
        pod = self._client.RunPodSandbox(api.RunPodSandboxRequest(config=config)).pod_sandbox_id
        request = api.CreateContainerRequest(
            pod_sandbox_id=pod, config=self._node.container(_LINES), sandbox_config=config
        )
        container = self._client.CreateContainer(request).container_id
        self._client.StartContainer(api.StartContainerRequest(container_id=container))
        self._logs.append(Path(config.log_directory, "main.log"))
        return str(pod), str(container)

    def run(self, seconds: float) -> None:
        users, load = self._users, self.load
        load.add("probes", users.probe, pause=0.1)
        load.add("lists and stats", users.look, pause=0.5)
        load.add("pods churned", users.churn, pause=0.5)
        load.add("pulls", users.pull, pause=5)
        load.add("attaches cut", users.cut_attach, pause=0.2)
        load.add("slow readers", users.slow_reader, pause=1)
        load.add("half-open requests", users.half_open, pause=0.2)
        load.add("deaf watchers", users.deaf_watcher, pause=1)
        begun = time.monotonic()
        try:
            self._restart_now_and_then(begun + seconds / 2)
            self._count_now_and_then(begun + seconds)
        finally:
            load.end()

    def _restart_now_and_then(self, until: float) -> None:
        restarts, counted = 0, 0.0
        while time.monotonic() < until:
            if time.monotonic() - counted > PERIOD:
                self._count()
                counted = time.monotonic()
            time.sleep(RESTART)  # this is its load, not a wait
            self._node.end((signal.SIGKILL, signal.SIGTERM)[restarts % 2])
            self._node.start().close()
            restarts += 1
        self.load.done["restarts of crispd"] = restarts

    def _count_now_and_then(self, until: float) -> None:
        while time.monotonic() < until:
            self._count()
            time.sleep(PERIOD)
        self._count()

    def _count(self) -> None:
        assert self._node.process
        node, daemon = self._node, self._node.process.pid
        with self.load.quiet():
            wait_until(lambda: not strays(node, self._client, self._before), "nothing is left without an owner", 60)
            self.counts.append(
                {
                    "crispd": Count.of([daemon]),
                    "zygote": Count.of([zygote_of(daemon) or 0]),
                    "shims": Count.of(pid for pod in self._pods for pid in shims_of(pod)),
                    "mounts": Count(things=len(Path("/proc/mounts").read_text().splitlines())),
                    "files in root": Count(things=_files(node.base / "root")),
                    "files in state": Count(things=_files(node.base / "run")),
                    "cgroups": Count(things=len(inside(f"/{node.cgroup}"))),
                }
            )
        print(f"{len(self.counts)}: {self.counts[-1]}", flush=True)

    def gaps(self) -> list[str]:
        """Logs with lines that are missing or doubled."""
        found = []
        for path in self._logs:
            lines = [line.split(" ", 3)[3] for line in path.read_text().splitlines()]
            if lines != [f"line {number}" for number in range(len(lines))]:
                found.append(f"{path}: lines are missing or doubled")
        return found

    def drift(self, first: int) -> list[str]:
        """What grew from that count to the last."""
        found = []
        for name, then in self.counts[first].items():
            now = self.counts[-1][name]
            for what, slack in {**SLACK, "things": 0.0}.items():
                if getattr(now, what) > getattr(then, what) * (1 + slack):
                    found.append(f"{name}: {what} grew from {getattr(then, what)} to {getattr(now, what)}")
        return found

    def end(self) -> None:
        for pod in self._pods:
            self._client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
        self._client.close()
        self._node.end(signal.SIGTERM)
        remove_cgroups(f"/{self._node.cgroup}")


@contextlib.contextmanager
def _images(base: Path) -> Iterator[tuple[str, str]]:
    """One for the containers, and one that comes and goes."""
    (base / "registry").mkdir()
    with running_registry(base / "registry") as registry:
        other = build([*busybox().layers, layer(files({"etc/other": b"other"}))], config={"Cmd": ["sh"]})
        yield push(busybox(), registry, "library/busybox", "1.36"), push(other, registry, "test/other", "1")


def _files(directory: Path) -> int:
    """Not those in images and containers."""
    return sum(1 for path in directory.rglob("*") if "rootfs" not in path.parts and "fs" not in path.parts)


def table(soak: Soak, steady: int) -> str:
    """As docs/soak.md shows it: the first count, the first one of the daemon's last run, the last one."""
    rows = ["| | memory, MiB | descriptors | threads | how many |", "|---|---|---|---|---|"]
    picked = (soak.counts[0], soak.counts[steady], soak.counts[-1])
    for name in picked[0]:
        each = [counts[name] for counts in picked]
        memory = " → ".join(f"{count.memory / 2**20:.1f}" for count in each) if each[0].memory else ""
        columns = [" → ".join(str(getattr(count, what)) for count in each) for what in ("fds", "threads", "things")]
        if not each[0].fds:
            columns[:2] = ["", ""]
        rows.append(f"| {name} | {memory} | {' | '.join(columns)} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Load a node and look whether anything grows; 1 when something does.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--pods", type=int, default=100)
    arguments = parser.parse_args()
    ensure_cgroups()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as base, _images(Path(base)) as (image, other):
        (Path(base) / "logs").mkdir()
        soak = Soak(Node(Path(base), image), arguments.pods, other)
        soak.run(arguments.minutes * 60)
        steady = max(len(soak.counts) // 2, 1)
        problems = [*soak.gaps(), *soak.drift(steady), *(f"{n} x {what}" for what, n in soak.load.failed.items())]
        soak.end()
    print(table(soak, steady))
    print("\n".join(f"{count} {what}" for what, count in sorted(soak.load.done.items())))
    print("\n".join(problems) or "nothing grew, nothing was lost")
    return min(len(problems), 1)


if __name__ == "__main__":
    sys.exit(main())
