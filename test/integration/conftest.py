"""What tests on real shims share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.zygote.process import ZygoteProcess
from rig.cgroups import ensure_cgroups
from rig.shim_node import ShimNode, daemon, remove_cgroups


@pytest.fixture(scope="session")
def _cgroups() -> None:
    ensure_cgroups()


@pytest.fixture
async def zygote() -> AsyncIterator[ZygoteProcess]:
    zygote = ZygoteProcess()
    await zygote.start()
    yield zygote
    await zygote.stop()


@pytest.fixture
async def node(tmp_path: Path, zygote: ZygoteProcess, _cgroups: None) -> AsyncIterator[ShimNode]:
    async with daemon(tmp_path, zygote) as node:
        try:
            yield node
        finally:
            for sandbox_id in node.manager.ids():
                await node.sandboxes.remove(sandbox_id)
            remove_cgroups()
