"""A zygote that dies between a fork and the word of it leaves a child that nobody knows."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from core.errdefs import Unavailable
from core.failpoint import ENVIRONMENT
from core.shims.bundle import Runtime
from core.zygote.process import ZygoteProcess
from rig.patience import patient
from rig.shim_node import daemon

pytestmark = pytest.mark.root

SOON = 5.0
"""Seconds: a sixth of what an unknown shim waits until it ends by itself."""


def runs(sandbox_id: str) -> bool:
    """Whether there is a shim of that sandbox, whoever knows of it."""
    title = f"crisp-shim {sandbox_id}".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(title):
                return True
        except OSError:
            continue
    return False


async def test_its_shim_ends_when_the_sandbox_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "zygote.fork.forked=1*kill")
    zygote, sandbox_id = ZygoteProcess(), uuid.uuid4().hex
    await zygote.start()
    try:
        async with daemon(tmp_path, zygote) as node:
            with pytest.raises(Unavailable):
                await node.manager.start(sandbox_id, Runtime(binary="/usr/bin/crun"))
            async with asyncio.timeout(patient(SOON)):
                while not runs(sandbox_id):
                    await asyncio.sleep(0.01)  # between looks at the condition
                await node.manager.remove(sandbox_id)
                while runs(sandbox_id):
                    await asyncio.sleep(0.01)
            assert not list(tmp_path.glob("sandboxes/*"))
    finally:
        await zygote.stop()
