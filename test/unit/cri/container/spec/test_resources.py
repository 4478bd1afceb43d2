from __future__ import annotations

from typing import Any

import pytest

from core.errdefs import InvalidArgument
from cri import api
from cri.container.spec.resources import changed, in_force, oom_score, resources
from rig.specs import V1, V2, facts

MIB = 1 << 20


def limits(**fields: Any) -> api.LinuxContainerResources:
    return api.LinuxContainerResources(**fields)


def test_a_change_keeps_what_it_does_not_name() -> None:
    before = limits(cpu_quota=1000, memory_limit_in_bytes=64 * MIB, cpuset_cpus="0", unified={"memory.high": "1"})
    after = changed(before, limits(cpu_quota=2000, unified={"memory.min": "2"}))
    assert after == limits(
        cpu_quota=2000,
        memory_limit_in_bytes=64 * MIB,
        cpuset_cpus="0",
        unified={"memory.high": "1", "memory.min": "2"},
    )


def test_a_change_of_one_page_size_keeps_the_others() -> None:
    small, large = api.HugepageLimit(page_size="2MB", limit=1), api.HugepageLimit(page_size="1GB", limit=1)
    after = changed(
        limits(hugepage_limits=[small, large]), limits(hugepage_limits=[api.HugepageLimit(page_size="2MB")])
    )
    assert list(after.hugepage_limits) == [api.HugepageLimit(page_size="2MB"), large]


def test_a_container_without_swap_gets_none_with_more_memory() -> None:
    before = limits(memory_limit_in_bytes=64 * MIB, memory_swap_limit_in_bytes=64 * MIB)
    after = resources(changed(before, limits(memory_limit_in_bytes=128 * MIB)), facts())
    assert after["memory"] == {"limit": 128 * MIB, "swap": 128 * MIB}


def test_what_is_in_force_is_told_in_the_words_of_the_request() -> None:
    wanted = limits(
        cpu_shares=1,
        cpu_quota=-1,
        cpu_period=50000,
        cpuset_cpus="0-1",
        cpuset_mems="0",
        memory_limit_in_bytes=64 * MIB,
        hugepage_limits=[api.HugepageLimit(page_size="2MB", limit=2 * MIB)],
        unified={"memory.high": "1"},
        oom_score_adj=-998,
    )
    node = facts(V2, oom_score_floor=-100)
    told = in_force(resources(wanted, node), oom_score(wanted, node))
    wanted.cpu_shares, wanted.oom_score_adj, wanted.memory_swap_limit_in_bytes = 2, -100, 64 * MIB
    assert told == wanted


@pytest.mark.parametrize(
    "fields",
    [
        {"cpu_shares": -1},
        {"cpu_quota": -2},
        {"cpu_period": -1},
        {"memory_limit_in_bytes": 1000},
        {"memory_limit_in_bytes": -2},
        {"memory_limit_in_bytes": 64 * MIB, "memory_swap_limit_in_bytes": 32 * MIB},
        {"unified": {"../memory.max": "1"}},
        {"unified": {"memory": "1"}},
    ],
)
def test_limits_that_no_kernel_takes_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="resources"):
        resources(limits(**fields), facts())


def test_files_of_cgroup_v2_need_cgroup_v2() -> None:
    with pytest.raises(InvalidArgument, match="v1"):
        resources(limits(unified={"memory.high": "1"}), facts(V1))


@pytest.mark.parametrize("score", [-1001, 1001])
def test_an_oom_score_out_of_range_is_refused(score: int) -> None:
    with pytest.raises(InvalidArgument, match="oom_score_adj"):
        oom_score(limits(oom_score_adj=score), facts())
