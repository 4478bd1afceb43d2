"""Who a container's process is and what it starts with, seen from inside and told by the status."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cri import api
from rig.cri_calls import refused, run, status, verbose
from rig.cri_client import CriClient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root


def config_with(node: Node, script: str = "sleep 1000", **security: Any) -> api.ContainerConfig:
    config = node.container(script)
    config.linux.security_context.CopyFrom(api.LinuxContainerSecurityContext(**security))
    config.linux.security_context.namespace_options.pid = api.NamespaceMode.CONTAINER
    return config


def number(value: int) -> api.Int64Value:
    return api.Int64Value(value=value)


def test_no_exec_makes_its_user_the_owner_of_the_nodes_devices(client: CriClient, node: Node, pods: Pods) -> None:
    before = os.stat("/dev/null")
    _, container = pods.start("", config=config_with(node, run_as_user=number(4321)))
    try:
        assert run(client, container, "cat; id -u") == "4321\n"
        after = os.stat("/dev/null")
        assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    finally:
        os.chown("/dev/null", before.st_uid, before.st_gid)


@pytest.mark.parametrize(
    ("security", "ids", "groups"),
    [
        ({}, (0, 0), [0]),
        ({"run_as_user": number(65534)}, (65534, 65534), [65534]),
        ({"run_as_user": number(7), "run_as_group": number(8)}, (7, 8), [8]),
        ({"run_as_username": "nobody", "supplemental_groups": [5, 6]}, (65534, 65534), [65534, 5, 6]),
    ],
)
def test_the_user_is_who_was_asked_for_and_the_status_says_so(
    client: CriClient, node: Node, pods: Pods, security: dict[str, Any], ids: tuple[int, int], groups: list[int]
) -> None:
    _, container = pods.start("", config=config_with(node, **security))
    seen = run(client, container, "id -u; id -g; grep Groups /proc/1/status").split()
    assert (int(seen[0]), int(seen[1])) == ids
    assert sorted(map(int, seen[3:])) == sorted(groups)
    user = status(client, container).user.linux
    assert ((user.uid, user.gid), list(user.supplemental_groups)) == (ids, groups)


def test_users_that_do_not_exist_or_make_no_sense_are_refused(client: CriClient, node: Node, pods: Pods) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)
    for security in (
        {"run_as_group": number(8)},
        {"run_as_username": "stranger"},
        {"run_as_username": "4294967296"},
        {"run_as_user": number(-1)},
        {"run_as_user": number(2**31)},
        {"run_as_user": number(1), "supplemental_groups": [-2]},
    ):
        config = config_with(node, **security)
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        assert refused(client.CreateContainer, request)[0] == grpc.StatusCode.INVALID_ARGUMENT, security


def test_the_stop_signal_is_the_containers_else_sigterm_and_the_status_says_so(
    client: CriClient, node: Node, pods: Pods
) -> None:
    script = "for s in USR1 64; do trap 'exit 3' $s; done; touch /tmp/up; while :; do sleep 0.05; done"
    for asked, code in ((api.Signal.SIGNAL_SIGUSR1, 3), (api.Signal.SIGNAL_SIGRTMAX, 3)):
        config = config_with(node, script)
        config.stop_signal = asked
        _, container = pods.start("", config=config)
        run(client, container, "until [ -e /tmp/up ]; do sleep 0.02; done")
        assert status(client, container).stop_signal == asked
        client.StopContainer(api.StopContainerRequest(container_id=container, timeout=15))
        assert status(client, container).exit_code == code
    _, container = pods.start("sleep 1000")
    assert status(client, container).stop_signal == api.Signal.SIGNAL_SIGTERM


def test_the_status_names_the_image_by_tag_digest_and_id(client: CriClient, node: Node, pods: Pods) -> None:
    image = client.ImageStatus(api.ImageStatusRequest(image=api.ImageSpec(image=node.image))).image
    config = config_with(node)
    config.image.image = image.id  # as the kubelet sends it
    config.image.user_specified_image = "busybox"
    _, container = pods.start("", config=config)
    found = status(client, container)
    assert (found.image_id, found.image_ref) == (image.id, image.repo_digests[0])
    assert (found.image.image, found.image.user_specified_image) == (image.repo_tags[0], "busybox")
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=image.id)))
    assert status(client, container).image_ref == found.image_ref
    assert run(client, container, "echo alive") == "alive\n"


def test_verbose_status_has_what_tools_read(client: CriClient, node: Node, pods: Pods) -> None:
    _, container = pods.start("", config=config_with(node))
    info = verbose(client, container)
    assert info["runtimeSpec"]["process"]["args"] == ["/bin/sh", "-c", "sleep 1000"]
    assert info["config"]["metadata"]["name"] == "main"
    assert os.readlink(f"/proc/{info['pid']}/ns/mnt") != os.readlink("/proc/self/ns/mnt")


def test_only_annotations_of_the_handlers_list_reach_the_oci_runtime(client: CriClient, node: Node, pods: Pods) -> None:
    """CVE-2024-3154, CVE-2023-6476."""
    config = config_with(node)
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    for key in (
        "run.oci.keep_original_groups",
        "run.oci.hooks.stdout",
        "run.oci.handler",
        "org.systemd.property.ExecStartPre",
        "module.wasm.image/variant",
        "cpu-quota.crio.io",
        "io.kubernetes.cri-o.UnifiedCgroup",
        "io.kubernetes.cri.sandbox-id",
        "ulimits.crisp.io/main",
    ):
        config.annotations[key] = "1"
    _, container = pods.start("", config=config)
    assert dict(status(client, container).annotations) == dict(config.annotations)
    spec = verbose(client, container)["runtimeSpec"]
    assert all(key.startswith("io.kubernetes.cri.") for key in spec["annotations"])
    assert "1" not in spec["annotations"].values()
    assert spec["linux"]["resources"]["memory"]["limit"] == 64 << 20
    assert not {"cpu", "unified"} & {key for key, value in spec["linux"]["resources"].items() if value}
