"""What plugins are told is what the spec says, and what they say comes back the same."""

from __future__ import annotations

from cri import api
from cri.container.spec.resources import with_limits
from cri.nri.container import container_message
from cri.nri.limits import beyond_cri, from_cri, from_oci, to_cri, to_oci
from cri.nri.spec import (
    hook_document,
    hooks,
    io_priority,
    io_priority_document,
    scheduler,
    scheduler_document,
    seccomp,
    seccomp_document,
)
from cri.store.container import Container
from rig.specs import V1, facts, source, spec

LIMITS = {
    "memory": {"limit": 1 << 30, "swap": 1 << 30, "reservation": 5, "swappiness": 0},
    "cpu": {"shares": 512, "quota": -1, "period": 100000, "cpus": "0-1", "mems": "0"},
    "pids": {"limit": 7},
    "unified": {"memory.high": "max"},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
}


def test_limits_go_there_and_back() -> None:
    assert to_oci(from_oci(LIMITS)) == LIMITS


def test_what_cri_has_and_what_it_has_not_are_all() -> None:
    asked = to_cri(from_oci(LIMITS), api.LinuxContainerResources(oom_score_adj=5))
    assert (asked.cpu_shares, asked.cpu_quota, asked.oom_score_adj) == (512, -1, 5)
    assert asked.memory_limit_in_bytes == 1 << 30
    assert beyond_cri(from_oci(LIMITS)) == {"memory": {"reservation": 5, "swappiness": 0}, "pids": {"limit": 7}}


def test_what_cri_does_not_set_plugins_are_not_told() -> None:
    assert not from_cri(api.LinuxContainerResources(oom_score_adj=3)).ListFields()


def test_limits_replace_what_they_name_and_nothing_else() -> None:
    before = {"devices": [1], "cpu": {"shares": 2, "realtimeRuntime": 3}, "hugepageLimits": LIMITS["hugepageLimits"]}
    after = with_limits(before, {"cpu": {"shares": 5}, "hugepageLimits": [{"pageSize": "1GB", "limit": 1}]})
    assert after == {
        "devices": [1],
        "cpu": {"shares": 5, "realtimeRuntime": 3},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 1}],
    }


def test_parts_of_a_spec_go_there_and_back() -> None:
    hook = {"path": "/bin/x", "args": ["x"], "env": ["A=1"], "timeout": 5}
    assert hook_document(hooks({"createRuntime": [hook]}).create_runtime[0]) == hook
    priority = {"class": "IOPRIO_CLASS_BE", "priority": 4}
    assert io_priority_document(io_priority(priority)) == priority
    batch = {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    assert scheduler_document(scheduler(batch)) == batch
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {
                "names": ["read"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_EQ"}],
                "errnoRet": 3,
            }
        ],
    }
    assert seccomp_document(seccomp(profile)) == profile


def test_a_container_is_told_as_its_spec_and_record_say() -> None:
    config = {
        "command": ["sh"],
        "envs": [{"key": "A", "value": "MQ=="}],
        "annotations": {"a": "b"},
        "linux": {"resources": {"memory_limit_in_bytes": 1 << 30}, "security_context": {"seccomp": {}}},
    }
    made = source(config, facts=facts(V1))
    container = Container(
        id="ctr1",
        sandbox_id="pod1",
        name="app",
        config=made.config.SerializeToString(),
        image_id="sha256:1",
        image_ref="example.org/app@sha256:2",
        image_name="example.org/app:1",
        log_path="",
        cgroup="",
        created_at=5,
    )
    message = container_message(container, spec(made))
    assert (message.id, message.pod_sandbox_id, message.name) == ("ctr1", "pod1", "app")
    assert list(message.args) == ["sh"]
    assert "A=1" in message.env
    assert message.annotations["a"] == "b"
    assert message.linux.resources.memory.limit.value == 1 << 30
    assert message.linux.seccomp_policy.default_action == "SCMP_ACT_ERRNO"
    assert (message.image.digest, message.image.config_digest) == ("sha256:2", "sha256:1")
    assert container_message(container, {}).id == "ctr1"
