"""What is said of an exec that the OCI runtime could not start."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from core.errdefs import FailedPrecondition, Internal
from core.oci.execution import NotExecutable
from cri.container.failures import exec_failure

CONTAINER: Any = SimpleNamespace(id="c1")
SAID = Internal("crun exec failed: fail startup")


def deps(exited: bool) -> Any:
    """Of a node on which the container has exited, or never will."""

    async def wait_exited(_: str) -> None:
        if not exited:
            await asyncio.get_running_loop().create_future()

    return SimpleNamespace(exits=SimpleNamespace(wait_exited=wait_exited))


async def test_a_container_that_ended_meanwhile_is_in_the_wrong_state() -> None:
    told = await exec_failure(deps(exited=True), CONTAINER, "sh", SAID)
    assert isinstance(told, FailedPrecondition)
    assert "c1" in str(told)


async def test_what_else_the_runtime_says_is_told_as_it_is(monkeypatch: Any) -> None:
    monkeypatch.setattr("cri.container.failures.ENDING", 0)
    assert await exec_failure(deps(exited=False), CONTAINER, "sh", SAID) is SAID


async def test_a_command_that_is_not_there_waits_for_no_exit() -> None:
    said = Internal("crun exec failed: executable file `sh` not found in $PATH: No such file or directory")
    assert isinstance(await exec_failure(deps(exited=False), CONTAINER, "sh", said), NotExecutable)
