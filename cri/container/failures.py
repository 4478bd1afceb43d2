"""Why a process did not start in a container: what the OCI runtime said, for whoever can do something about it.

OCI runtimes have one exit code for everything. What is the command's own fault is an error of the request, and a
container that ends while something is being started in it is nobody's.
"""

from __future__ import annotations

import asyncio
import json

from core.errdefs import CrispError, FailedPrecondition, Internal
from core.oci.execution import not_executable
from cri.container.deps import ContainerDeps
from cri.store.container import Container

ENDING = 1.0
"""Seconds for the exit of a container to be told: its kernel threads are at it, and the OCI runtime failed by that."""


def start_failure(deps: ContainerDeps, container: Container, said: CrispError) -> CrispError:
    """Of the first process."""
    command = json.loads(deps.bundles.spec(container.id))["process"]["args"][0]
    return not_executable(str(said), command) or said


async def exec_failure(deps: ContainerDeps, container: Container, command: str, said: Internal) -> CrispError:
    """Of another one."""
    if refused := not_executable(str(said), command):
        return refused
    try:
        async with asyncio.timeout(ENDING):
            await deps.exits.wait_exited(container.id)
    except TimeoutError:
        return said
    return FailedPrecondition(f"container {container.id} ended before {command[:160]!r} was started in it")
