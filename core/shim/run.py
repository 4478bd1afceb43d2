"""An exec that somebody waits for: started, watched, and ended when that somebody is gone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

from core.failpoint import failpoint
from core.shim.container import Container
from core.shim.family import kill_family
from core.shim.reaper import Process

_numbers = itertools.count(1)


async def start_exec(container: Container, process: bytes, stdio: Sequence[int], console: str = "") -> Process:
    """Run OCI `process` (JSON) in the container; the caller has a turn (`Containers.exec_turn`).

    Not to be cancelled: the process might be there, and nobody would know it. Raises FailedPrecondition (container not
    running), Internal with the OCI runtime's words.
    """
    container.require_running()
    name = f"exec-{next(_numbers)}"
    started = await container.runtime.exec(container.id, name, process, stdio, console)
    failpoint("shim.exec.started")
    if container.process is None or container.process.exit.done():
        end_exec(container, started)  # it came into the cgroup too late for what ends with the container
    return started


async def wait_exec(
    container: Container, process: Process, gone: asyncio.Future[Any], timeout: float | None = None
) -> bool:
    """Wait for its exit; when `gone` is done or `timeout` seconds are over, kill it with its family first.

    Whether it ended by itself.
    """
    done, _ = await asyncio.wait([process.exit, gone], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    if process.exit not in done:
        end_exec(container, process)
        await process.exit
    failpoint("shim.exec.ended")
    return process.exit in done


def end_exec(container: Container, process: Process) -> None:
    """SIGKILL it and all it started."""
    if not process.exit.done():
        kill_family(process.pid, container.pids)
