import pytest

from core.linux.cgroup import CgroupLayout, CgroupMode

V1 = """\
25 20 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
26 25 0:23 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
27 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
28 25 0:25 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,name=systemd
"""


def layout(tmp_path, text: str) -> CgroupLayout:
    (tmp_path / "mountinfo").write_text(text)
    return CgroupLayout.read(str(tmp_path / "mountinfo"))


def unified(tmp_path, controllers: str) -> str:
    (tmp_path / "cg").mkdir()
    (tmp_path / "cg/cgroup.controllers").write_text(controllers)
    return f"30 25 0:26 / {tmp_path}/cg rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_legacy_layout_names_each_controller(tmp_path):
    found = layout(tmp_path, V1)
    assert found.mode is CgroupMode.LEGACY
    assert found.directory("cpuacct", "/kubepods/x") == "/sys/fs/cgroup/cpu,cpuacct/kubepods/x"
    assert set(found.controllers) == {"memory", "cpu", "cpuacct", "name=systemd"}
    with pytest.raises(KeyError):
        found.directory("pids", "/")


def test_hybrid_layout_takes_a_controller_where_it_is(tmp_path):
    found = layout(tmp_path, V1 + unified(tmp_path, "hugetlb\n"))
    assert found.mode is CgroupMode.HYBRID
    assert found.directory("memory", "/a") == "/sys/fs/cgroup/memory/a"
    assert found.directory("hugetlb", "/a") == f"{tmp_path}/cg/a"


def test_unified_layout_has_all_in_one_place(tmp_path):
    found = layout(tmp_path, unified(tmp_path, "cpu memory pids\n"))
    assert found.mode is CgroupMode.UNIFIED
    assert found.directory("memory", "/a") == found.directory("pids", "/a") == f"{tmp_path}/cg/a"


def test_a_mounted_subtree_is_taken_off_the_group(tmp_path):
    found = layout(tmp_path, "26 25 0:23 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
    assert found.directory("memory", "/docker/1/child") == "/sys/fs/cgroup/memory/child"


def test_the_groups_of_this_process_exist():
    found = CgroupLayout.read()
    assert set(found.of_process()) >= set(found.controllers)
