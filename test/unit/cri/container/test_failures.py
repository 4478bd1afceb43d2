"""What is said of an exec that the OCI runtime could not start."""

from __future__ import annotations

import asyncio
import os
import subprocess
from types import SimpleNamespace
from typing import Any

from core.errdefs import FailedPrecondition, Internal
from core.oci.execution import NotExecutable
from cri.container.failures import exec_failure

SAID = Internal("crun exec failed: fail startup")


def container(pid: int) -> Any:
    return SimpleNamespace(id="c1", pid=pid)


async def never(_: str) -> None:
    await asyncio.get_running_loop().create_future()


DEPS: Any = SimpleNamespace(exits=SimpleNamespace(wait_exited=never))
"""Of a node to which no exit is told."""


async def test_a_container_whose_first_process_is_dead_is_in_the_wrong_state() -> None:
    child = subprocess.Popen(["true"])
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie, whose exit nobody has told yet
        told = await exec_failure(DEPS, container(child.pid), "sh", SAID)
    finally:
        child.wait()
    assert isinstance(told, FailedPrecondition)


async def test_what_else_the_runtime_says_is_told_as_it_is(monkeypatch: Any) -> None:
    monkeypatch.setattr("cri.container.failures.ENDING", 0)
    assert await exec_failure(DEPS, container(os.getpid()), "sh", SAID) is SAID


async def test_a_command_that_is_not_there_waits_for_no_exit() -> None:
    said = Internal("crun exec failed: executable file `sh` not found in $PATH: No such file or directory")
    assert isinstance(await exec_failure(DEPS, container(os.getpid()), "sh", said), NotExecutable)
