from __future__ import annotations

import os
from pathlib import Path

from core.linux.cgroup import CgroupLayout, Hierarchy
from core.tasks.limits import SavedLimits


def tree(root: Path, files: dict[str, str]) -> CgroupLayout:
    """A memory hierarchy of version 1 in which this very process is in the group with `files`."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    group = next(line.split(":", 2)[2] for line in lines if "memory" in line.split(":")[1].split(",") or line[0] == "0")
    directory = Path(f"{root}/{group}")
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (directory / name).write_text(value)
    hierarchy = Hierarchy(mount_point=str(root), root="/")
    return CgroupLayout(controllers={"memory": hierarchy}, unified=hierarchy, unified_controllers=frozenset())


def files_of(layout: CgroupLayout) -> dict[str, str]:
    directory = Path(next(iter(layout.of_process().values())))
    return {path.name: path.read_text() for path in directory.iterdir() if path.is_file()}


def test_everything_that_a_change_touched_is_put_back(tmp_path: Path) -> None:
    before = {"memory.limit_in_bytes": "100\n", "hugetlb.2MB.max": "max\n", "memory.high": "007\n"}
    layout = tree(tmp_path, before)
    wanted = {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}], "unified": {"memory.high": "1"}}
    saved = SavedLimits(layout, os.getpid(), wanted)
    tree(tmp_path, dict.fromkeys(before, "999\n"))
    saved.restore()
    assert files_of(layout) == before


def test_of_a_process_that_is_gone_nothing_is_kept(tmp_path: Path) -> None:
    SavedLimits(tree(tmp_path, {"memory.max": "1"}), 2**22, {}).restore()
    assert files_of(tree(tmp_path, {})) == {"memory.max": "1"}
