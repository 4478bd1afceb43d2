"""What NRI plugins change in a spec."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from core.api.nri_types_pb2 import ContainerAdjustment
from core.errdefs import InvalidArgument
from core.linux.cgroup import CgroupLayout
from cri.container.spec.adjustment import adjust
from cri.container.spec.identity import effective_user
from rig.specs import V1, V2, facts, source, spec


def adjusted(wanted: dict[str, Any], layout: CgroupLayout = V2, **node: Any) -> dict[str, Any]:
    made = source({"envs": [{"key": "OLD", "value": "MQ=="}]}, facts=facts(layout, **node))
    document = spec(made)
    adjust(document, ParseDict(wanted, ContainerAdjustment()), made, effective_user(made))
    return document


def test_an_empty_adjustment_changes_nothing() -> None:
    assert adjusted({}) == spec(source({"envs": [{"key": "OLD", "value": "MQ=="}]}))


def test_the_environment_is_replaced_in_its_place_removed_and_added_to() -> None:
    before = adjusted({})["process"]["env"]
    after = adjusted({"env": [{"key": "OLD", "value": "2"}, {"key": "-PATH"}, {"key": "NEW", "value": "a=b"}]})
    kept = [pair.replace("OLD=1", "OLD=2") for pair in before if not pair.startswith("PATH=")]
    assert after["process"]["env"] == [*kept, "NEW=a=b"]


def test_mounts_are_replaced_removed_and_come_after_their_parents() -> None:
    found = adjusted(
        {
            "mounts": [
                {"destination": "/a/b", "source": "/x", "options": ["rbind", "rslave"]},
                {"destination": "/a", "source": "/y", "options": ["rbind", "rshared"]},
                {"destination": "-/dev/mqueue"},
                {"destination": "/proc", "type": "proc", "source": "proc", "options": ["ro"]},
            ]
        }
    )
    targets = [mount["destination"] for mount in found["mounts"]]
    assert targets.index("/a") < targets.index("/a/b")
    assert "/dev/mqueue" not in targets
    assert [mount["options"] for mount in found["mounts"] if mount["destination"] == "/proc"] == [["ro"]]
    assert found["linux"]["rootfsPropagation"] == "rshared"


def test_a_device_is_made_and_allowed() -> None:
    device = {"path": "/dev/x", "type": "c", "major": "10", "minor": "229", "uid": {"value": 5}}
    linux = adjusted({"linux": {"devices": [device]}})["linux"]
    assert linux["devices"][-1]["path"] == "/dev/x"
    assert linux["devices"][-1]["uid"] == 5
    assert linux["resources"]["devices"][-1] == {
        "allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"
    }  # fmt: skip


def test_limits_take_swap_along_and_leave_what_the_node_has_not() -> None:
    wanted = {
        "linux": {
            "resources": {
                "memory": {"limit": {"value": "1000000"}},
                "hugepage_limits": [{"page_size": "2MB", "limit": "0"}],
                "pids": {"limit": "5"},
            }
        }
    }
    resources = adjusted(wanted)["linux"]["resources"]
    assert resources["memory"] == {"limit": 1000000, "swap": 1000000}
    assert resources["pids"] == {"limit": 5}
    assert resources["hugepageLimits"] == [{"pageSize": "2MB", "limit": 0}]
    bare = CgroupLayout(controllers={}, unified=V2.unified, unified_controllers=frozenset())
    resources = adjusted(wanted, bare, swap=False)["linux"]["resources"]
    assert resources["memory"] == {"limit": 1000000}
    assert "hugepageLimits" not in resources


def test_process_and_security_are_as_wanted() -> None:
    found = adjusted(
        {
            "args": ["x"],
            "rlimits": [{"type": "RLIMIT_CORE", "soft": "1", "hard": "2"}],
            "hooks": {"poststop": [{"path": "/bin/x"}]},
            "linux": {
                "oom_score_adj": {"value": -999},
                "cgroups_path": "/other/place",
                "sysctl": {"net.core.somaxconn": "5"},
                "namespaces": [{"type": "-pid"}, {"type": "ipc", "path": "/x"}],
                "seccomp_policy": {"default_action": "SCMP_ACT_ALLOW"},
                "scheduler": {"policy": "SCHED_BATCH"},
                "io_priority": {"class": "IOPRIO_CLASS_IDLE"},
                "rdt": {"clos_id": {"value": "gold"}},
            },
        },
        oom_score_floor=-10,
    )
    process, linux = found["process"], found["linux"]
    assert (process["args"], process["oomScoreAdj"]) == (["x"], -10)
    assert process["rlimits"] == [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}]
    assert process["scheduler"]["policy"] == "SCHED_BATCH"
    assert process["ioPriority"] == {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    assert found["hooks"]["poststop"][0]["path"] == "/bin/x"
    assert (linux["cgroupsPath"], linux["sysctl"]) == ("/other/place", {"net.core.somaxconn": "5"})
    kinds = {one["type"]: one.get("path") for one in linux["namespaces"]}
    assert "pid" not in kinds
    assert kinds["ipc"] == "/x"
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ALLOW"
    assert linux["intelRdt"] == {"closID": "gold"}


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"linux": {"net_devices": {"eth1": {"name": "eth0"}}}}, "net_devices"),
        ({"linux": {"memory_policy": {"mode": "MPOL_BIND"}}}, "memory_policy"),
        ({"linux": {"resources": {"blockio_class": {"value": "slow"}}}}, "blockio class 'slow'"),
        ({"linux": {"resources": {"rdt_class": {"value": "gold"}}}}, "RDT class 'gold'"),
        ({"args": ["a\0b"]}, "NUL"),
        ({"CDI_devices": [{"name": "vendor.com/none=1"}]}, "vendor.com/none=1"),
    ],
)
def test_what_cannot_be_done_is_refused(wanted: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        adjusted(wanted)


def test_files_of_cgroup_v2_are_refused_on_v1() -> None:
    with pytest.raises(InvalidArgument, match="cgroup v1"):
        adjusted({"linux": {"resources": {"unified": {"memory.high": "1"}}}}, V1)
