"""The cgroup of one container: who is in it, and whether the kernel killed there for lack of memory."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

from core.linux.cgroup import CgroupLayout, read_file


@functools.cache
def node_layout() -> CgroupLayout:
    """Where this node has its cgroups; read by the zygote, for all its shims: nobody moves them under running pods."""
    return CgroupLayout.read()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerCgroup:
    """Found while the container's first process lives; new with the container, so its counters are the container's."""

    procs: str
    """A hierarchy's cgroup.procs file."""
    memory_events: str
    """The file that counts OOM kills."""
    pods_kills: int
    """OOM kills in the pod's group when the container was made; on v2 that file counts those below, too."""

    @classmethod
    def of(cls, layout: CgroupLayout, pid: int) -> ContainerCgroup | None:
        """None when the process is in no group of its own, or gone."""
        try:
            directories = layout.of_process(pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        memory = directories.get("memory", "")
        if not memory or memory == layout.of_process("self").get("memory"):
            return None
        name = "memory.oom_control" if "memory" in layout.controllers else "memory.events"
        return cls(
            procs=os.path.join(memory, "cgroup.procs"),
            memory_events=os.path.join(memory, name),
            pods_kills=_oom_kills(_of_pod(memory, name)) or 0,
        )

    def pids(self) -> tuple[int, ...]:
        try:
            return tuple(int(line) for line in read_file(self.procs).split())
        except OSError:
            return ()

    def oom_killed(self) -> bool:
        """Whether there was an OOM kill. To be read before an exit is told (hazards 3.24), and at once: systemd removes
        a group whose last process has ended. Then the pod's group, which lives on, tells of a kill in it meanwhile.
        """
        kills = _oom_kills(self.memory_events)
        if kills is not None:
            return kills > 0
        of_pod = _oom_kills(_of_pod(*os.path.split(self.memory_events)))
        return of_pod is not None and of_pod > self.pods_kills


def _of_pod(directory: str, name: str) -> str:
    """File `name` of the group that holds the container's; crun makes one more in the scope that systemd makes."""
    above = os.path.dirname(directory)
    return os.path.join(os.path.dirname(above) if above.endswith(".scope") else above, name)


def _oom_kills(path: str) -> int | None:
    """None when there is no such file, or its group is just going."""
    try:
        lines = read_file(path).splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
