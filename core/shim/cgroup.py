"""The cgroup of one container: who is in it, and whether the kernel killed there for lack of memory."""

from __future__ import annotations

import os
from dataclasses import dataclass

from core.linux.cgroup import CgroupLayout, read_file


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerCgroup:
    """Found while the container's first process lives; new with the container, so its counters are the container's."""

    procs: str
    """A hierarchy's cgroup.procs file."""
    memory_events: str
    """The file that counts OOM kills."""

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
        return cls(procs=os.path.join(memory, "cgroup.procs"), memory_events=os.path.join(memory, name))

    def pids(self) -> tuple[int, ...]:
        try:
            return tuple(int(line) for line in read_file(self.procs).split())
        except OSError:
            return ()

    def oom_killed(self) -> bool:
        """Whether there was an OOM kill; False where the cgroup is gone. To be read before an exit is told
        (hazards 3.24)."""
        try:
            lines = read_file(self.memory_events).splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and int(line.split()[1]) > 0 for line in lines)
