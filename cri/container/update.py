"""UpdateContainerResources: all of what is asked, or nothing.

What a crash leaves: new limits in the cgroup and the old ones in the record, which the kubelet sees and asks again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from core.errdefs import FailedPrecondition
from core.linux.cgroup import write_file
from core.log import get_logger
from cri import api
from cri.container.deps import ContainerDeps
from cri.container.spec.resources import changed, in_force, oom_score, resources, with_limits
from cri.store.container import Container
from cri.undo import undoing

log = get_logger(__name__)


async def update_container_resources(deps: ContainerDeps, request: api.UpdateContainerResourcesRequest) -> None:
    """Change the limits that the request sets; others stay. Of a container that was not started its spec changes.

    Raises NotFound, InvalidArgument, FailedPrecondition (exited or unknown), Internal with the OCI runtime's words;
    then the old limits are in force.
    """
    found = deps.containers.get(request.container_id)
    await deps.operations.finish(_update_asked(deps, found, request.linux))


async def _update_asked(deps: ContainerDeps, container: Container, asked: api.LinuxContainerResources) -> None:
    await change_limits(deps, container.id, *await deps.nri.update(container, asked))
    await deps.nri.updated(container)


async def change_limits(
    deps: ContainerDeps, container_id: str, asked: api.LinuxContainerResources, more: Mapping[str, Any]
) -> None:
    """Without asking plugins; `more` is what CRI has no fields for, as OCI has it. Raises as above."""
    async with deps.locks.hold(container_id):
        container = deps.containers.get(container_id)
        if container.state not in (api.ContainerState.CONTAINER_CREATED, api.ContainerState.CONTAINER_RUNNING):
            name = api.ContainerState.Name(container.state)
            raise FailedPrecondition(f"container {container.id} is in state {name}: it has no limits to change")
        current = api.ContainerResources.FromString(container.resources).linux
        await _update(deps, container, changed(current, asked), more)


async def _update(
    deps: ContainerDeps, container: Container, wanted: api.LinuxContainerResources, more: Mapping[str, Any]
) -> None:
    limits = with_limits(resources(wanted, deps.facts), more)
    score = oom_score(wanted, deps.facts)
    before = deps.bundles.spec(container.id)
    after = _with_limits(before, limits, score)
    async with undoing() as undo:
        undo.push(_write_spec, deps, container, before)
        await _write_spec(deps, container, after)
        if container.running:
            old = msgspec.json.decode(before)
            if score != (old_score := old["process"]["oomScoreAdj"]):
                undo.push(_set_oom_score, deps, container, old_score)
                await _set_oom_score(deps, container, score)
            # Pushed before: what an update that fails has told systemd of is only taken back by another one.
            undo.push(deps.tasks.update, container.sandbox_id, container.id, old["linux"]["resources"])
            await deps.tasks.update(container.sandbox_id, container.id, limits)
        told = api.ContainerResources(linux=in_force(limits, score)).SerializeToString()
        now = deps.containers.find(container.id) or container  # it may have exited meanwhile
        await deps.containers.put(replace(now, resources=told))
        undo.pop_all()
    log.info("container resources changed", container_id=container.id)


def _with_limits(spec: bytes, limits: Mapping[str, Any], score: int) -> bytes:
    """The spec with other limits: what StartContainer applies, and what an exec's process begins with."""
    document = msgspec.json.decode(spec)
    document["linux"]["resources"] = with_limits(document["linux"]["resources"], limits)
    document["process"]["oomScoreAdj"] = score
    return msgspec.json.encode(document)


async def _write_spec(deps: ContainerDeps, container: Container, spec: bytes) -> None:
    deps.bundles.write_spec(container.id, spec)  # on a tmpfs: nothing to wait for


async def _set_oom_score(deps: ContainerDeps, container: Container, score: int) -> None:
    """Of each process; its children have it from it. No cgroup file says it, and so no OCI runtime does it."""
    for pid in await deps.tasks.pids(container.sandbox_id, container.id):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
            write_file(f"/proc/{pid}/oom_score_adj", str(score))
