"""Why a process did not start in a container: what the OCI runtime said, for whoever can do something about it.

OCI runtimes have one exit code for everything. What is the command's own fault is an error of the request, and a
container that ends while something is being started in it is nobody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

from core.errdefs import CrispError, FailedPrecondition, Internal
from core.linux.proc import has_died
from core.oci.execution import not_executable
from cri.container.deps import ContainerDeps
from cri.store.container import Container

ENDING = 1.0
"""Seconds for a container to end whose end the OCI runtime seems to have met: other processes of it go first."""


def start_failure(deps: ContainerDeps, container: Container, said: CrispError) -> CrispError:
    """Of the first process."""
    command = json.loads(deps.bundles.spec(container.id))["process"]["args"][0]
    return not_executable(str(said), command) or said


async def exec_failure(deps: ContainerDeps, container: Container, command: str, said: Internal) -> CrispError:
    """Of another one."""
    if refused := not_executable(str(said), command):
        return refused
    if not has_died(container.pid):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                await deps.exits.wait_exited(container.id)
    if has_died(container.pid):  # the shim may take longer to tell, with so much to do
        return FailedPrecondition(f"container {container.id} ended before {command[:160]!r} was started in it")
    return said
