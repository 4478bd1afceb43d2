import pytest

from core.errdefs import InvalidArgument
from core.oci.cgroups import cgroups_path, group_of, parent_group

POD = "kubepods-burstable-podab_c.slice"


@pytest.mark.parametrize(
    ("parent", "systemd", "group"),
    [
        ("/kubepods/burstable/pod1", False, "/kubepods/burstable/pod1/c1"),
        ("", False, "/crisp/c1"),
        (f"/kubepods.slice/x/{POD}", True, f"/kubepods.slice/kubepods-burstable.slice/{POD}/crisp-c1.scope"),
        ("", True, "/crisp.slice/crisp-c1.scope"),
        ("-.slice", True, "/crisp-c1.scope"),
    ],
)
def test_the_group_of_a_container_follows_from_its_record(parent, systemd, group):
    assert group_of(cgroups_path(parent, "c1", systemd=systemd)) == group


@pytest.mark.parametrize(
    ("parent", "systemd", "group"),
    [
        ("kubepods//pod1/", False, "/kubepods/pod1"),
        (f"/kubepods.slice/{POD}", True, f"/kubepods.slice/kubepods-burstable.slice/{POD}"),
        ("", True, ""),
        ("/", False, ""),
    ],
)
def test_a_pods_own_group_is_its_containers_parent(parent, systemd, group):
    assert parent_group(parent, systemd=systemd) == group
    if group:
        assert group_of(cgroups_path(parent, "c1", systemd=systemd)).startswith(f"{group}/")


def test_a_parent_that_leaves_the_hierarchy_is_refused():
    with pytest.raises(InvalidArgument, match="cgroup_parent"):
        parent_group("/a/../b", systemd=False)
