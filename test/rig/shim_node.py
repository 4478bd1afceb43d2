"""A daemon's view of the node, down to real shims and crun, without CRI."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from core.linux.pidfd import ProcessIdentity
from core.sandbox.controller import SandboxSpec
from core.sandbox.pinned import PinnedController
from core.shim.rest import FIRST
from core.shims.bundle import Runtime
from core.shims.manager import ShimManager
from core.shims.shim import worker_of
from core.tasks.service import ShimTasks
from core.tasks.tasks import TaskExit, TaskIO
from core.zygote.process import ZygoteProcess
from rig import cgroups
from rig.bundles import CGROUP, make_bundle
from rig.patience import patient

SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0"}
POD = SandboxSpec(id="pod", runtime_handler="", hostname="podhost", sysctls=SYSCTLS)


class ShimNode:
    """One daemon's view of the node."""

    def __init__(self, state: Path, zygote: ZygoteProcess, group: asyncio.TaskGroup, quiet: float) -> None:
        self.state = state
        self.manager = ShimManager(str(state), zygote, group, quiet=quiet)
        runtime = Runtime(binary="/usr/bin/crun", root=str(state / "crun"))
        self.tasks = ShimTasks(self.manager)
        self.sandboxes = PinnedController(self.manager, {"": runtime})
        self.exits: list[TaskExit] = []
        self.deaths: list[str] = []
        self._changed = asyncio.Event()
        self.tasks.subscribe(self._on_exit)
        self.manager.subscribe(self._on_death)

    def bundle(self, name: str, command: str, **linux: object) -> str:
        return make_bundle(self.state / "containers" / name, command, **linux)  # type: ignore[arg-type]

    async def run(self, name: str, command: str, *, io: TaskIO | None = None, **linux: object) -> int:
        io = io or TaskIO()
        bundle = self.bundle(name, command, terminal=io.terminal, **linux)
        io = replace(io, log_path=f"{bundle}/log")
        pid = await self.tasks.create("pod", name, bundle, io=io)
        await self.tasks.start("pod", name)
        return pid

    def log(self, name: str) -> list[str]:
        lines = (self.state / "containers" / name / "log").read_text().splitlines()
        return [line.split(" ", 3)[3] for line in lines]

    def shim(self) -> int:
        """Pid of the pod's shim."""
        return int(json.loads((self.state / "sandboxes/pod/shim.json").read_text())["pid"])

    def shim_processes(self) -> list[int]:
        """Pids of the shim and of its worker, if it has one now."""
        worker = worker_of(self.shim())
        return [self.shim(), *([worker] if worker else [])]

    async def wait_asleep(self) -> int:
        """Wait until the pod's shim sleeps; its pid."""
        async with asyncio.timeout(patient(20)):
            while len(self.shim_processes()) > 1:
                await asyncio.sleep(0.01)  # between looks at the condition
        return self.shim()

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(patient(20)):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _on_exit(self, exit_: TaskExit) -> None:
        self.exits.append(exit_)
        self._changed.set()

    def _on_death(self, sandbox_id: str) -> None:
        self.deaths.append(sandbox_id)
        self._changed.set()


@contextlib.asynccontextmanager
async def daemon(state: Path, zygote: ZygoteProcess, quiet: float = FIRST) -> AsyncIterator[ShimNode]:
    async with asyncio.TaskGroup() as group:
        node = ShimNode(state, zygote, group, quiet)
        async with node.tasks.listening():
            yield node
        node.manager.leave()


def remove_cgroups() -> None:
    """Remove the parent of all bundles' groups. Raises OSError when a container's is left in it."""
    cgroups.remove_cgroups(f"/{CGROUP.strip('/')}")


async def wait_gone(pids: Sequence[int]) -> None:
    """What is killed leaves its cgroup some steps before its pidfd tells of the end (kernel/exit.c, do_exit)."""
    async with asyncio.timeout(patient(5)):
        while any(map(alive, pids)):
            await asyncio.sleep(0.01)  # between looks at the condition


def alive(pid: int) -> bool:
    try:
        return ProcessIdentity.of(pid).alive()
    except ProcessLookupError:
        return False
