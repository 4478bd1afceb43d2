"""Sandboxes with a root container: a task of `infra_image`, whose namespaces the pod's other containers join.

Handlers that put a pod into a guest of its own need one: it is what their shims make the guest for. The network
namespace is there before it, so that the network can be set up on whatever the runtime makes of it; the others it
brings. They are pinned, as if the pod's shim had made them, so that no path leads to another process's one day.

    root bundle → shim → network namespace and /dev/shm → task created → its namespaces pinned → task started

What a crash leaves is a bundle below `roots/`, a directory below `sandboxes/`, or both: `remove` undoes them.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from core.errdefs import (
    AlreadyExists,
    CrispError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from core.failpoint import failpoint
from core.images.images import Image
from core.linux.ns import pin
from core.log import get_logger
from core.network import netns
from core.oci import oom
from core.sandbox.controller import NamespaceMode, Sandbox, SandboxController, SandboxSpec
from core.sandbox.handlers import find_runtime
from core.sandbox.root_spec import root_spec
from core.sandbox.roots import Roots
from core.shim.namespaces import make_shm
from core.shims.bundle import NAMESPACES, Runtime, SandboxDir
from core.shims.manager import ShimManager
from core.tasks.tasks import TaskExit, TaskIO, Tasks, TaskState

T = TypeVar("T")
log = get_logger(__name__)

END = 10.0
"""Seconds from SIGKILL to the exit of a root container, which does nothing but sleep: its shim hangs after that."""

FindImage = Callable[[str, str], Awaitable[Image]]
"""The image of a name, unpacked in the snapshotter of a name."""
"""The image of a reference, pulled when it is not on the node."""


class PauseController:
    """The root container is known by the sandbox's id, as containerd has it."""

    def __init__(
        self,
        *,
        manager: ShimManager,
        tasks: Tasks,
        runtimes: Mapping[str, Runtime],
        roots: Roots,
        find_image: FindImage,
        executor: Executor,
    ) -> None:
        """`runtimes` by runtime handler, "" is the default one; `executor` gets what blocks."""
        self._manager = manager
        self._tasks = tasks
        self._runtimes = runtimes
        self._roots = roots
        self._find_image = find_image
        self._executor = executor
        self._ended: dict[str, asyncio.Event] = {}
        tasks.subscribe(self._on_exit)

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Raises InvalidArgument (unknown handler, a user namespace, an image that names no command), AlreadyExists (a
        half-made sandbox of this id: remove it), FailedPrecondition (systemd's cgroups without systemd), Internal with
        the OCI runtime's words, and what pulling raises."""
        runtime = find_runtime(self._runtimes, spec.runtime_handler)
        if spec.uid_mappings:
            raise InvalidArgument(
                f"runtime handler {spec.runtime_handler!r} runs pods with a root container, and those have no user "
                "namespaces: use a handler without infra_image"
            )
        if await self.alive(spec.id):
            return await self._sandbox(spec)
        if self._roots.has(spec.id):
            raise AlreadyExists(f"root container of sandbox {spec.id}: remove the sandbox first")
        image = await self._find_image(runtime.infra_image, runtime.snapshotter)
        try:
            await self._start(spec, runtime, image)
            return await self._sandbox(spec)
        except BaseException:
            await asyncio.shield(self.remove(spec.id))
            raise

    async def _start(self, spec: SandboxSpec, runtime: Runtime, image: Image) -> None:
        directory = self._manager.directory(spec.id)
        write_spec = partial(
            root_spec,
            spec,
            image,
            netns=directory.namespace("network") if spec.network is NamespaceMode.POD else "",
            shm=directory.shm if spec.ipc is NamespaceMode.POD else "",
            systemd=runtime.systemd_cgroup,
            oom_floor=oom.floor(),
        )
        bundle = await self._blocking(self._roots.make, spec.id, image, write_spec, runtime.snapshotter)
        failpoint("sandbox.root.written")
        await self._manager.start(spec.id, runtime, bundle=bundle)
        await self._blocking(_make_places, spec, directory)
        failpoint("sandbox.root.placed")
        pid = await self._tasks.create(spec.id, spec.id, bundle, io=TaskIO())
        failpoint("sandbox.root.created")
        for kind in spec.shared:
            if kind != "network":
                pin(f"/proc/{pid}/ns/{NAMESPACES[kind]}", directory.namespace(kind))
        directory.note_namespaces()
        failpoint("sandbox.root.pinned")
        await self._tasks.start(spec.id, spec.id)

    async def alive(self, sandbox_id: str) -> bool:
        try:
            status = await self._tasks.status(sandbox_id, sandbox_id)
        except CrispError as exc:
            log.debug("root container does not answer", sandbox_id=sandbox_id, reason=exc)
            return False
        return status.state is TaskState.RUNNING and self._manager.directory(sandbox_id).pinned()

    async def stop(self, sandbox_id: str) -> None:
        """A shim that hangs is killed: there is nothing left that it is needed for."""
        try:
            async with asyncio.timeout(END):
                await self._end(sandbox_id)
        except (Unavailable, DeadlineExceeded, FailedPrecondition, TimeoutError) as exc:  # dead, or hanging
            log.info("root container ended without its shim", sandbox_id=sandbox_id, reason=exc)
            await self._manager.kill(sandbox_id)
        await self._blocking(self._manager.directory(sandbox_id).release)

    async def remove(self, sandbox_id: str) -> None:
        await self.stop(sandbox_id)
        await self._manager.remove(sandbox_id)
        failpoint("sandbox.root.ended")
        await self._blocking(self._roots.remove, sandbox_id)

    def holds(self, sandbox_id: str) -> bool:
        """Whether there is anything of a root container of this sandbox."""
        return self._roots.has(sandbox_id)

    async def list(self) -> list[str]:
        return list(self._roots.ids())

    async def _end(self, sandbox_id: str) -> None:
        """Kill the root container, wait for its exit and delete the task. Success when there is none."""
        ended = self._ended.setdefault(sandbox_id, asyncio.Event())
        try:
            state = (await self._tasks.status(sandbox_id, sandbox_id)).state
            if state in (TaskState.RUNNING, TaskState.PAUSED):
                await self._tasks.kill(sandbox_id, sandbox_id, signal.SIGKILL, all_processes=True)
                await ended.wait()
            await self._tasks.delete(sandbox_id, sandbox_id)
        except NotFound:
            return
        finally:
            self._ended.pop(sandbox_id, None)

    def _on_exit(self, exit_: TaskExit) -> None:
        if ended := self._ended.get(exit_.container_id):
            ended.set()

    async def _sandbox(self, spec: SandboxSpec) -> Sandbox:
        directory, shared = self._manager.directory(spec.id), spec.shared
        return Sandbox(
            id=spec.id,
            pid=(await self._tasks.status(spec.id, spec.id)).pid,
            namespaces={kind: directory.namespace(kind) for kind in shared},
            created_at=self._roots.made_at(spec.id),
            shm=directory.shm if "ipc" in shared else "",
        )

    async def _blocking(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)


_fits: type[SandboxController] = PauseController


def _make_places(spec: SandboxSpec, directory: SandboxDir) -> None:
    """What is there before the root container: the network namespace and /dev/shm."""
    os.mkdir(os.path.dirname(directory.namespace("network")), 0o700)
    if spec.network is NamespaceMode.POD:
        netns.make(directory.namespace("network"))
    if spec.ipc is NamespaceMode.POD:
        make_shm(directory.shm, spec.shm_size)
