"""What a new daemon does about the pods of an earlier one: adopt what lives, end what is dead, sweep the rest.

Every object is named by its id on disk, so a sweep is a comparison of directory names with records. Nothing here is
fatal: a pod that makes no sense is reported and its neighbours are served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

from core.errdefs import CrispError, Unavailable
from core.log import get_logger
from cri.container.deps import ContainerDeps
from cri.container.recover import KILLED_EXIT, UNKNOWN_EXIT, end_container, lose_container, recover_container
from cri.sandbox.deps import SandboxDeps
from cri.store.container import Container
from cri.store.sandbox import PodSandbox

log = get_logger(__name__)


async def recover(sandboxes: SandboxDeps, containers: ContainerDeps, *, rebooted: bool) -> None:
    """Adopt, end and sweep everything; returns when all pods whose shim answers are adopted."""
    async with asyncio.TaskGroup() as group:
        for pod in sandboxes.sandboxes.list():
            group.create_task(_recover_pod(sandboxes, containers, pod, rebooted=rebooted))
    await sweep(sandboxes, containers)


async def _recover_pod(
    sandboxes: SandboxDeps, containers: ContainerDeps, pod: PodSandbox, *, rebooted: bool
) -> None:
    try:
        async with sandboxes.locks.hold(pod.id):
            await _adopt(sandboxes, containers, pod, rebooted=rebooted)
    except Unavailable as exc:
        log.warning("shim does not answer", sandbox_id=pod.id, error=exc)
        for container in _of(containers, pod):
            await lose_container(containers, container)
    except CrispError as exc:
        log.error("sandbox not recovered", sandbox_id=pod.id, error=exc)


async def _adopt(sandboxes: SandboxDeps, containers: ContainerDeps, pod: PodSandbox, *, rebooted: bool) -> None:
    if not rebooted and await containers.tasks.adopt(pod.id):
        for container in _of(containers, pod):
            await recover_container(containers, container)
        if not pod.stopped and not await sandboxes.controller_of(pod).alive(pod.id):
            await sandboxes.sandboxes.put(replace(pod, stopped=True))
        return
    for container in _of(containers, pod):
        await end_container(containers, container, UNKNOWN_EXIT if rebooted else KILLED_EXIT)
    if not pod.stopped:
        await sandboxes.sandboxes.put(replace(pod, stopped=True))


async def pod_died(sandboxes: SandboxDeps, containers: ContainerDeps, sandbox_id: str) -> None:
    """The pod's shim has died while we watched, and its containers were killed with it (hazards 3.8)."""
    pod = sandboxes.sandboxes.find(sandbox_id)
    if pod is None:
        return
    log.error("shim died", sandbox_id=sandbox_id)
    for container in _of(containers, pod):
        await end_container(containers, container, KILLED_EXIT)
    if not pod.stopped:
        await sandboxes.sandboxes.put(replace(pod, stopped=True))


def _of(containers: ContainerDeps, pod: PodSandbox) -> list[Container]:
    return [container for container in containers.containers.list() if container.sandbox_id == pod.id]


async def sweep(sandboxes: SandboxDeps, containers: ContainerDeps) -> None:
    """Undo everything on disk that has no record."""
    pods = {pod.id for pod in sandboxes.sandboxes.list()}
    known = {container.id for container in containers.containers.list()}
    loop = asyncio.get_running_loop()
    for sandbox_id in await sandboxes.controllers[""].list():
        if sandbox_id not in pods:
            await _sweep_step("sandbox", sandbox_id, sandboxes.controllers[""].remove(sandbox_id))
    for container_id in containers.bundles.ids():
        if container_id not in known:
            removal = loop.run_in_executor(containers.filesystem, containers.bundles.remove, container_id)
            await _sweep_step("bundle", container_id, removal)
    for sandbox_id in sandboxes.files.list():
        if sandbox_id not in pods:
            removal = loop.run_in_executor(sandboxes.filesystem, sandboxes.files.remove, sandbox_id)
            await _sweep_step("files", sandbox_id, removal)
    await _sweep_step("network", "*", sandboxes.network.collect(_attached(sandboxes)))


def _attached(sandboxes: SandboxDeps) -> set[str]:
    return {pod.id for pod in sandboxes.sandboxes.list() if not pod.stopped}


async def _sweep_step(what: str, id_: str, step: Awaitable[object]) -> None:
    try:
        await step
        log.info("swept", what=what, id=id_)
    except (CrispError, OSError) as exc:
        log.error("sweep failed", what=what, id=id_, error=exc)
