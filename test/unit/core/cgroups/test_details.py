"""What monitoring wants to know of a group, from the files of each version of cgroups."""

import pytest

from core.cgroups.details import DeviceIo, HugePages, page_sizes
from core.cgroups.open import open_group
from core.cgroups.v2_details import shares_of
from core.linux.cgroup import CgroupLayout, Hierarchy

V1 = {
    "cpuacct": {"cpuacct.usage": "5000\n", "cpuacct.usage_user": "3000\n", "cpuacct.usage_sys": "2000\n"},
    "cpu": {
        "cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 700000\n",
        "cpu.shares": "512\n",
        "cpu.cfs_quota_us": "20000\n",
        "cpu.cfs_period_us": "100000\n",
    },
    "memory": {
        "memory.usage_in_bytes": "4096\n",
        "memory.stat": (
            "cache 1\npgfault 5\npgmajfault 1\ntotal_cache 40\ntotal_mapped_file 8\ntotal_pgfault 9\n"
            "total_active_file 11\n"
        ),
        "memory.max_usage_in_bytes": "8192\n",
        "memory.kmem.usage_in_bytes": "512\n",
        "memory.failcnt": "3\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        "memory.limit_in_bytes": "65536\n",
        "memory.soft_limit_in_bytes": f"{0x7FFFFFFFFFFFF000}\n",
        "memory.memsw.limit_in_bytes": "65536\n",
    },
    "blkio": {
        "blkio.throttle.io_service_bytes_recursive": "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 1\nTotal 12289\n",
        "blkio.throttle.io_serviced_recursive": "254:0 Read 1\n254:0 Write 2\n254:0 Sync 1\nTotal 4\n",
    },
    "pids": {"pids.current": "7\n", "pids.max": "max\n"},
}
V2 = {
    "cpu.stat": (
        "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 10\nnr_throttled 4\nthrottled_usec 700\n"
    ),
    "cpu.weight": "20\n",
    "cpu.max": "20000 100000\n",
    "memory.current": "4096\n",
    "memory.stat": (
        "anon 1\nfile 40\nkernel 512\nfile_mapped 8\ninactive_file 0\nactive_file 11\npgfault 9\npgmajfault 1\n"
    ),
    "memory.peak": "8192\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n",
    "memory.max": "65536\n",
    "memory.high": "max\n",
    "memory.swap.max": "0\n",
    "io.stat": "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n",
    "pids.current": "7\n",
    "pids.max": "max\n",
}


def v1_group(root, files=V1):
    for controller, content in files.items():
        (root / controller / "pod").mkdir(parents=True, exist_ok=True)
        for name, text in content.items():
            (root / controller / "pod" / name).write_text(text)
    controllers = {name: Hierarchy(mount_point=f"{root}/{name}", root="/") for name in files}
    layout = CgroupLayout(controllers=controllers, unified=None, unified_controllers=frozenset())
    return open_group(layout, "/pod", keep=False)


def v2_group(root, files=V2):
    (root / "pod").mkdir(exist_ok=True)
    for name, text in files.items():
        (root / "pod" / name).write_text(text)
    unified = Hierarchy(mount_point=str(root), root="/")
    layout = CgroupLayout(controllers={}, unified=unified, unified_controllers=frozenset({"memory"}))
    return open_group(layout, "/pod", keep=False)


@pytest.mark.parametrize("make", [v1_group, v2_group])
def test_both_versions_tell_the_same_of_a_group(tmp_path, make):
    found = make(tmp_path).details()
    cpu, memory, limits = found.cpu, found.memory, found.limits
    assert (cpu.user, cpu.system, cpu.periods, cpu.throttled_periods, cpu.throttled) == (3000, 2000, 10, 4, 700_000)
    assert (memory.peak, memory.cache, memory.mapped_file, memory.active_file) == (8192, 40, 8, 11)
    assert (memory.kernel, memory.limit_hits, memory.oom_kills) == (512, 3, 2)
    assert found.io == (
        DeviceIo(major=254, minor=0, operation="Read", size=4096, count=1),
        DeviceIo(major=254, minor=0, operation="Write", size=8192, count=2),
    )
    assert (found.threads, limits.threads) == (7, None)
    assert (limits.cpu_quota, limits.cpu_period) == (20_000, 100_000)
    assert (limits.memory, limits.memory_reservation) == (65536, None)
    assert limits.cpu_shares in range(500, 525)


def test_the_versions_differ_in_what_is_the_groups_own_and_in_what_swap_limits_mean(tmp_path):
    v1, v2 = v1_group(tmp_path).details(), v2_group(tmp_path).details()
    assert (v1.usage.page_faults, v1.memory.own_page_faults) == (9, 5)
    assert (v2.usage.page_faults, v2.memory.own_page_faults) == (9, 9)
    assert (v1.limits.memory_swap, v2.limits.memory_swap) == (65536, 0)


def test_no_quota_is_none(tmp_path):
    cpu = {**V1["cpu"], "cpu.cfs_quota_us": "-1\n"}
    assert v1_group(tmp_path, {**V1, "cpu": cpu}).details().limits.cpu_quota is None
    assert v2_group(tmp_path, {**V2, "cpu.max": "max 100000\n"}).details().limits.cpu_quota is None


def test_huge_pages_are_told_by_size(tmp_path):
    (size, *_) = page_sizes()
    files = {f"hugetlb.{size}.usage_in_bytes": "2097152\n", f"hugetlb.{size}.max_usage_in_bytes": "4194304\n"}
    assert v1_group(tmp_path, {**V1, "hugetlb": files}).details().huge_pages[size] == HugePages(
        usage=2 << 20, peak=4 << 20
    )
    found = v2_group(tmp_path, {**V2, f"hugetlb.{size}.current": "2097152\n"}).details().huge_pages
    assert found == {size: HugePages(usage=2 << 20, peak=None)}


def test_a_group_with_few_controllers_tells_what_it_can(tmp_path):
    found = v1_group(tmp_path, {name: V1[name] for name in ("cpuacct", "memory")}).details()
    assert (found.cpu.user, found.limits.cpu_quota, found.io, found.huge_pages) == (3000, None, (), {})


def test_a_group_that_is_not_there_is_an_error_of_the_caller(tmp_path):
    with pytest.raises(OSError):
        v2_group(tmp_path, {}).details()


def test_weights_become_shares_over_their_whole_range():
    assert (shares_of(0), shares_of(1), shares_of(10_000)) == (0, 2, 262_144)
