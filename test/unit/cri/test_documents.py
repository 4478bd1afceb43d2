from cri import api
from cri.documents import to_dict


def test_a_message_is_what_go_makes_of_it() -> None:
    config = api.ContainerConfig(
        metadata=api.ContainerMetadata(name="app", attempt=2),
        command=["sh", "-c"],
        envs=[api.KeyValue(key="A", value=b"1\xff")],
        labels={"b": "c"},
        mounts=[api.Mount(host_path="/x", propagation=api.MountPropagation.PROPAGATION_BIDIRECTIONAL, readonly=True)],
    )
    config.linux.resources.memory_limit_in_bytes = 1 << 40
    config.linux.security_context.run_as_user.value = 0
    assert to_dict(config) == {
        "metadata": {"name": "app", "attempt": 2},
        "command": ["sh", "-c"],
        "envs": [{"key": "A", "value": "1\ufffd"}],
        "labels": {"b": "c"},
        "mounts": [{"host_path": "/x", "propagation": 2, "readonly": True}],
        "linux": {"resources": {"memory_limit_in_bytes": 1 << 40}, "security_context": {"run_as_user": {}}},
    }
