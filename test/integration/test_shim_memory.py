"""How much memory of its own a pod's shim takes: the figure that decides how many pods a node can have."""

from pathlib import Path

import pytest

from rig.shim_node import POD, ShimNode

pytestmark = pytest.mark.root

SHIM_MEMORY = 5376
"""KiB of its own that an idle shim with one container may have: measured 5050. An import that is left for the
shim to do, or much code that the rehearsal does not run, is 200 to 900."""


async def test_an_idle_shim_shares_most_of_its_memory(node: ShimNode) -> None:
    await node.sandboxes.start(POD)
    await node.run("c", "sleep 1000")
    assert await node.sandboxes.alive("pod")
    assert 0 < private(node.shim()) <= SHIM_MEMORY


def private(pid: int) -> int:
    """KiB that the process has written and shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))
