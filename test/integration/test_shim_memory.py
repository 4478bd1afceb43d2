"""How much memory of its own a pod's shim takes: the figure that decides how many pods a node can have."""

import pytest

from rig.memory import private_of
from rig.shim_node import POD, ShimNode

pytestmark = pytest.mark.root

WORKER = 4800 << 10
"""Bytes of its own that the worker of a pod with one container may have: measured 4.5 MiB. An import that is left for
it to do, or much code that the rehearsal does not run, is 0.2 to 0.9."""
KEEPER = 1100 << 10
"""Of a keeper: measured 0.6 MiB beside a worker and 0.9 alone, when it is the only one of its zygote."""


async def test_a_shim_shares_most_of_its_memory_and_asleep_nearly_all(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    await node.run("c", "sleep 1000")
    assert await node.sandboxes.alive("pod")
    keeper, worker = node.shim_processes()
    assert 0 < private_of(worker) <= WORKER
    assert 0 < private_of(keeper) <= KEEPER
    assert 0 < private_of(await node.wait_asleep()) <= KEEPER
    assert await node.sandboxes.alive("pod")
    assert 0 < private_of(node.shim_processes()[1]) <= WORKER
