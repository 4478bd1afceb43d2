"""How much memory of its own a pod's shim takes: the figure that decides how many pods a node can have."""

import pytest

from rig.memory import private_of
from rig.shim_node import POD, ShimNode

pytestmark = pytest.mark.root

SHIM_MEMORY = 4650 << 10
"""Bytes of its own that an idle shim with one container may have: measured 4.4. An import that is left for the
shim to do, or much code that the rehearsal does not run, is 0.2 to 0.9 MiB."""


async def test_an_idle_shim_shares_most_of_its_memory(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    await node.run("c", "sleep 1000")
    assert await node.sandboxes.alive("pod")
    assert 0 < private_of(node.shim()) <= SHIM_MEMORY
