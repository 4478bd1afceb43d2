"""What a crash left without a record, found by comparing the names of directories with records, and undone.

The stock is taken before the first request. So however long the undoing takes, it never touches what is made meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial

from core.errdefs import Unavailable
from core.failpoint import failpoint
from core.log import get_logger
from core.network.network import Network
from cri.container.deps import ContainerDeps
from cri.sandbox.deps import SandboxDeps

log = get_logger(__name__)

COLLECT_PERIOD = 3600.0
"""Seconds between two CNI GCs. What they find was left by somebody whom we do not know, which is rare, and pods wait
while plugins are at it."""
_PARALLEL = 8  # at once: a shim that hangs takes 7 s to end, and there can be hundreds


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Ids that had no record when the stock was taken."""

    sandboxes: Collection[str]
    bundles: Collection[str]
    files: Collection[str]
    attached: Collection[str]
    """With or without a record: which pods have ended is known only when all are recovered."""

    def __bool__(self) -> bool:
        return bool(self.sandboxes or self.bundles or self.files or self.attached)


async def find_leftovers(sandboxes: SandboxDeps, containers: ContainerDeps) -> Leftovers:
    """Take stock, when the records are loaded and nothing new is made yet."""
    pods = {pod.id for pod in sandboxes.sandboxes.list()}
    known = {container.id for container in containers.containers.list()}
    return Leftovers(
        sandboxes=set(await sandboxes.controllers[""].list()) - pods,
        bundles=set(containers.bundles.ids()) - known,
        files=set(sandboxes.files.list()) - pods,
        attached=sandboxes.network.held(),
    )


async def find_leftovers_now(sandboxes: SandboxDeps, containers: ContainerDeps, patience: float) -> Leftovers:
    """The same while requests are served. What is being made has no record yet: so who makes it is waited for, and what
    still has none then is left over. Removals forget the record last.

    Raises Unavailable when a request under way does not end within `patience` seconds.
    """
    stock = await find_leftovers(sandboxes, containers)
    if not await sandboxes.operations.wait_present(patience):
        raise Unavailable("pods or containers are being made: what is left over is not known until that has ended")
    pods = {pod.id: pod for pod in sandboxes.sandboxes.list()}
    known = {container.id for container in containers.containers.list()}
    return Leftovers(
        sandboxes=set(stock.sandboxes) - pods.keys(),
        bundles=set(stock.bundles) - known,
        files=set(stock.files) - pods.keys(),
        attached={one for one in stock.attached if one not in pods or pods[one].stopped},
    )


async def sweep(sandboxes: SandboxDeps, containers: ContainerDeps, leftovers: Leftovers) -> None:
    """Undo all of it; what cannot be undone is reported, and found again by the next daemon."""
    blocking = partial(asyncio.get_running_loop().run_in_executor, containers.filesystem)
    await _each("sandbox", leftovers.sandboxes, sandboxes.controllers[""].remove)
    await _each("bundle", leftovers.bundles, partial(blocking, containers.bundles.remove))
    await _each("files", leftovers.files, partial(blocking, sandboxes.files.remove))
    running = {pod.id for pod in sandboxes.sandboxes.list() if not pod.stopped}
    await _step("network", "*", sandboxes.network.collect(set(leftovers.attached) - running))


async def collect_regularly(network: Network, period: float = COLLECT_PERIOD) -> None:
    """CNI GC from time to time: every attachment that is recorded is kept, one whose DEL is being retried too."""
    while True:
        await asyncio.sleep(period)
        await _step("network", "*", network.collect(()))


async def _each(what: str, ids: Collection[str], undo: Callable[[str], Awaitable[object]]) -> None:
    slots = asyncio.Semaphore(_PARALLEL)

    async def one(id_: str) -> None:
        async with slots:
            await _step(what, id_, undo(id_))

    async with asyncio.TaskGroup() as group:
        for id_ in ids:
            group.create_task(one(id_))


async def _step(what: str, id_: str, step: Awaitable[object]) -> None:
    try:
        await step
    except Exception as exc:  # noqa: BLE001 - whatever it is, the others are undone
        log.error("sweep failed", what=what, id=id_, error=exc)
    else:
        failpoint("sweep.step.undone")
        log.info("swept", what=what, id=id_)
