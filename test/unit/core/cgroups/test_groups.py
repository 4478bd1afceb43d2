"""Groups as directories of files: what each version of cgroups tells, and what is left out where it tells less."""

from pathlib import Path

import pytest

from core.cgroups.open import open_group
from core.cgroups.usage import total
from core.errdefs import Unavailable
from core.linux.cgroup import CgroupLayout, Hierarchy

PRESSURE = (
    "some avg10=1.50 avg60=0.25 avg300=0.01 total=2000\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n"
)
V1 = {
    "cpuacct/pod/cpuacct.usage": "5000000123\n",
    "memory/pod/memory.usage_in_bytes": "104857600\n",
    "memory/pod/memory.stat": (
        "cache 1\nrss 2\npgfault 3\nhierarchical_memory_limit 268435456\nhierarchical_memsw_limit 402653184\n"
        "total_cache 40\ntotal_rss 41943040\ntotal_swap 4096\ntotal_pgfault 99\ntotal_pgmajfault 9\n"
        "total_inactive_file 20971520\ntotal_active_file 5\n"
    ),
}
V2 = {
    "unified/pod/cpu.stat": "usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\n",
    "unified/pod/memory.current": "104857600\n",
    "unified/pod/memory.stat": "anon 41943040\nfile 7\ninactive_file 20971520\npgfault 99\npgmajfault 9\n",
    "unified/pod/memory.max": "268435456\n",
    "unified/pod/memory.swap.current": "4096\n",
    "unified/pod/memory.swap.max": "134217728\n",
}
PRESSURES = {f"unified/pod/{name}.pressure": PRESSURE for name in ("cpu", "memory", "io")}


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def layout(root: Path, *, v1: bool, controllers: str = "") -> CgroupLayout:
    return CgroupLayout(
        controllers={
            name: Hierarchy(mount_point=f"{root}/{name}", root="/") for name in ("cpuacct", "memory") if v1
        },
        unified=Hierarchy(mount_point=f"{root}/unified", root="/"),
        unified_controllers=frozenset(controllers.split()),
    )


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_both_versions_tell_the_same_of_a_group(tmp_path, version):
    write(tmp_path, {**(V1 if version == "v1" else V2), **PRESSURES})
    controllers = "" if version == "v1" else "cpu memory"
    group = open_group(layout(tmp_path, v1=version == "v1", controllers=controllers), "/pod", keep=True)
    usage = group.usage()
    assert usage.cpu // 1_000_000 == 5000
    assert (usage.memory, usage.working_set, usage.rss) == (100 << 20, 80 << 20, 40 << 20)
    assert (usage.page_faults, usage.major_page_faults) == (99, 9)
    assert (usage.memory_limit, usage.swap, usage.swap_limit) == (256 << 20, 4096, 128 << 20)
    for found in (usage.cpu_pressure, usage.memory_pressure, usage.io_pressure):
        assert (found.some.avg10, found.some.avg60, found.some.avg300, found.some.total) == (1.5, 0.25, 0.01, 2_000_000)
        assert (found.full.avg10, found.full.total) == (0.5, 7000)
    group.close()
    assert group.usage() == usage
    group.close()


@pytest.mark.parametrize("keep", [True, False])
def test_a_group_is_read_anew_each_time(tmp_path, keep):
    write(tmp_path, V1)
    group = open_group(layout(tmp_path, v1=True), "/pod", keep=keep)
    assert group.usage().cpu == 5000000123
    (tmp_path / "cpuacct/pod/cpuacct.usage").write_text("6000000000\n")
    assert group.usage().cpu == 6000000000
    group.close()


def test_what_the_kernel_does_not_limit_or_measure_is_none(tmp_path):
    unlimited = str(0x7FFFFFFFFFFFF000)
    stat = V1["memory/pod/memory.stat"].replace("268435456", unlimited).replace("402653184", unlimited)
    write(tmp_path, {**V1, "memory/pod/memory.stat": stat, "unified/pod/cgroup.procs": ""})
    usage = open_group(layout(tmp_path, v1=True), "/pod", keep=False).usage()
    assert (usage.memory_limit, usage.swap_limit, usage.cpu_pressure) == (None, None, None)


def test_a_v2_group_without_a_memory_controller_still_tells_its_cpu(tmp_path):
    write(tmp_path, {"unified/pod/cpu.stat": V2["unified/pod/cpu.stat"]})
    usage = open_group(layout(tmp_path, v1=False, controllers="memory"), "/pod", keep=False).usage()
    assert (usage.cpu, usage.memory, usage.memory_limit) == (5_000_000_000, 0, None)


@pytest.mark.parametrize("controllers", ["", "cpu memory"])
def test_a_group_that_is_not_there_is_an_error_of_the_caller(tmp_path, controllers):
    group = open_group(layout(tmp_path, v1=not controllers, controllers=controllers), "/pod", keep=True)
    with pytest.raises(OSError):
        group.usage()
    assert group.pids() == []
    group.close()


def test_processes_are_counted_with_those_of_groups_below(tmp_path):
    write(tmp_path, {**V2, "unified/pod/cgroup.procs": "", "unified/pod/container/cgroup.procs": "7\n8\n"})
    write(tmp_path, {"unified/pod/container/inner/cgroup.procs": "9\n"})
    group = open_group(layout(tmp_path, v1=False, controllers="memory"), "/pod", keep=False)
    assert sorted(group.pids()) == [7, 8, 9]


def test_a_node_without_controllers_says_which_is_missing(tmp_path):
    with pytest.raises(Unavailable, match="cpuacct"):
        open_group(layout(tmp_path, v1=False), "/pod", keep=False)


def test_groups_add_up_without_limits(tmp_path):
    write(tmp_path, {**V1, **PRESSURES})
    usage = open_group(layout(tmp_path, v1=True), "/pod", keep=False).usage()
    both = total([usage, usage])
    assert both is not None
    assert (both.cpu, both.memory, both.working_set) == (usage.cpu * 2, usage.memory * 2, usage.working_set * 2)
    assert (both.memory_limit, both.cpu_pressure) == (None, None)
    assert total([]) is None
