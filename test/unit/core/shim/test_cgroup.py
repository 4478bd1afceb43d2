"""Whether a container was killed for lack of memory, from the files of its cgroup and of its pod's.

The groups are those of crun under systemd: it makes one of its own in the scope.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.linux.cgroup import CgroupLayout, Hierarchy
from core.shim.cgroup import ContainerCgroup


class Groups(CgroupLayout):
    """A container's group below a pod's."""

    def of_process(self, pid: int | str = "self") -> dict[str, str]:
        assert self.unified
        own = f"{self.unified.mount_point}/pod/c.scope/container"
        return {"memory": own if pid == 7 else self.unified.mount_point}


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    (tmp_path / "pod/c.scope/container").mkdir(parents=True)
    count(tmp_path / "pod", 3)
    count(tmp_path / "pod/c.scope/container", 0)
    return tmp_path / "pod"


def count(group: Path, kills: int) -> None:
    (group / "memory.events").write_text(f"low 0\nhigh 0\nmax 9\noom 1\noom_kill {kills}\noom_group_kill 0\n")


def cgroup(pod: Path) -> ContainerCgroup:
    unified = Hierarchy(mount_point=str(pod.parent), root="/")
    layout = Groups(controllers={}, unified=unified, unified_controllers=frozenset({"memory"}))
    found = ContainerCgroup.of(layout, 7)
    assert found is not None
    assert ContainerCgroup.of(layout, 8) is None
    return found


def test_the_containers_own_count_decides_while_its_group_is_there(pod: Path) -> None:
    container = cgroup(pod)
    count(pod, 4)
    assert not container.oom_killed()
    count(pod / "c.scope/container", 1)
    assert container.oom_killed()


def test_the_pods_count_decides_when_systemd_was_faster(pod: Path) -> None:
    container = cgroup(pod)
    shutil.rmtree(pod / "c.scope")
    assert not container.oom_killed()
    count(pod, 4)
    assert container.oom_killed()


def test_without_either_group_nothing_is_known(pod: Path) -> None:
    container = cgroup(pod)
    shutil.rmtree(pod)
    assert not container.oom_killed()
