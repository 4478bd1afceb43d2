"""ExecSync: run a command in a running container and return what it wrote."""

from __future__ import annotations

from typing import Any

import msgspec

from core.errdefs import FailedPrecondition, Internal, InvalidArgument
from cri import api
from cri.container.deps import ContainerDeps
from cri.container.failures import exec_failure
from cri.store.container import Container

OUTPUT_LIMIT = 16 << 20
"""Bytes of stdout and of stderr together that a reply can carry: the kubelet's gRPC message limit is 16 MiB
(hazards CVE-2022-31030). Some room is left for the message around them."""
_STREAM_LIMIT = OUTPUT_LIMIT // 2 - 4096


async def exec_sync(deps: ContainerDeps, request: api.ExecSyncRequest) -> api.ExecSyncResponse:
    """Raises NotFound, InvalidArgument (no command, or one that cannot be executed), FailedPrecondition (not running),
    DeadlineExceeded (timeout)."""
    if not request.cmd:
        raise InvalidArgument("ExecSync: cmd is empty")
    container = running(deps, request.container_id)
    process = exec_process(deps.bundles.spec(container.id), list(request.cmd), tty=False)
    try:
        result = await deps.tasks.exec_sync(
            container.sandbox_id, container.id, process, timeout=float(request.timeout), limit=_STREAM_LIMIT
        )
    except Internal as exc:
        raise await exec_failure(deps, container, request.cmd[0], exc) from exc
    return api.ExecSyncResponse(stdout=result.stdout, stderr=result.stderr, exit_code=result.exit_code)


def running(deps: ContainerDeps, container_id: str) -> Container:
    """Raises NotFound, FailedPrecondition when it is not running."""
    container = deps.containers.get(container_id)
    if not container.running:
        name = api.ContainerState.Name(container.state)
        raise FailedPrecondition(f"container {container.id} is in state {name}, not running")
    return container


def exec_process(spec: bytes, command: list[str], *, tty: bool) -> dict[str, Any]:
    """The OCI process of an exec: the container's own (user, environment, capabilities, cwd) with another command."""
    process: dict[str, Any] = msgspec.json.decode(spec)["process"]
    process["args"] = command
    process["terminal"] = tty
    environment = process.setdefault("env", [])
    if tty and not any(variable.startswith("TERM=") for variable in environment):
        environment.append("TERM=xterm")  # as a container on a terminal has it
    return process
