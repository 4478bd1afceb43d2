"""What has gone wrong in runtimes like this one, as far as pods, names, images and secrets go (see container hazards).

Requests that must be refused cost no pod, so each test sends many. The fixtures prove that the daemon lives after it
and that nothing is left.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cri import api
from cri.grpc.wire import MAX_MESSAGE
from rig.cri_calls import refused
from rig.cri_client import CriClient
from rig.images import busybox, push
from rig.registry import PASSWORD, USERNAME, running_registry

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
CODES = grpc.StatusCode
POD, CONTAINER, NODE = (api.NamespaceMode.Value(name) for name in ("POD", "CONTAINER", "NODE"))


def not_run(client: CriClient, pod: api.PodSandboxConfig, handler: str = "") -> str:
    """Why a pod is refused."""
    code, message = refused(client.RunPodSandbox, api.RunPodSandboxRequest(config=pod, runtime_handler=handler))
    assert code == CODES.INVALID_ARGUMENT, (code, message)
    return message


def files_of(base: Path) -> set[Path]:
    """All but logs and what changes by itself: content, the database, and the search for what OCI runtimes can do."""
    names = ("logs", "root/content", "root/metadata.db", "run/features", "run/runtime")
    by_itself = tuple(f"{base}/{name}" for name in names)
    return {path for path in base.rglob("*") if not str(path).startswith(by_itself)}


def test_a_pod_sets_no_sysctl_but_those_of_its_own_namespaces(client: CriClient, node: Node) -> None:
    """CVE-2022-0811 (cr8escape), CVE-2022-0532."""
    core_pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    asked = {
        "kernel.shm_rmid_forced": ("1+kernel.core_pattern=|/x\n", "1 ", " 1", "1\0"),
        "net.ipv4.ip_local_port_range": ("1024 65000\n+kernel.core_pattern=|/x",),
        **dict.fromkeys(("kernel.core_pattern", "vm.swappiness", "kernel.shm_rmid_forced=1+kernel.core_pattern"), "1"),
        **dict.fromkeys(("net/../kernel/core_pattern", "net.ipv4/../../kernel/core_pattern", "/net.x", "net..x"), "1"),
        **dict.fromkeys(("net.ipv4.x\n", "net.ipv4.x y", "net", "", "net.ipv4.x=1", "net.x+kernel.y", "\0"), "1"),
    }
    for key, values in asked.items():
        for value in values:
            pod = node.pod()
            pod.linux.sysctls[key] = value
            assert "sysctls" in not_run(client, pod), (key, value)
    for key, field in (("net.ipv4.ip_forward", "network"), ("kernel.shmmax", "ipc"), ("kernel.hostname", "network")):
        pod = node.pod()
        setattr(pod.linux.security_context.namespace_options, field, NODE)
        pod.linux.sysctls[key] = "0"
        assert "does not belong to a namespace of this pod's own" in not_run(client, pod)
    assert Path("/proc/sys/kernel/core_pattern").read_text() == core_pattern


def test_no_text_of_a_pod_becomes_another_line(client: CriClient, node: Node) -> None:
    """Hazard "injection": dns, hostname, metadata; labels beyond 4096 bytes; CVE-2025-0750."""
    before = files_of(node.base)
    for field in ("servers", "searches", "options"):
        for text in ("1.1.1.1\nnameserver 6.6.6.6", "a\0", "a\rb", "\x7f"):
            pod = node.pod()
            getattr(pod.dns_config, field).append(text)
            assert f"dns_config.{field}" in not_run(client, pod)
    for hostname in ("a\nb", "a/b", "../a", "a b", "a\0", "x" * 65):
        pod = node.pod()
        pod.hostname = hostname
        assert "hostname" in not_run(client, pod)
    for field in ("name", "namespace", "uid"):
        pod = node.pod()
        setattr(pod.metadata, field, "x\ny")
        assert f"metadata.{field}" in not_run(client, pod)
    pod = node.pod()
    pod.labels["key"] = "x" * 4096
    assert "labels" in not_run(client, pod)
    pod = node.pod()
    pod.linux.cgroup_parent = "/../../escape"
    assert "cgroup_parent" in not_run(client, pod)
    for handler in ("../../x", "/bin/sh", "\0", "x" * 4096, "\u202e"):
        assert "runtime handler" in not_run(client, node.pod(), handler)
    assert files_of(node.base) == before


def test_no_name_or_id_is_a_path(client: CriClient, node: Node, pods: Pods) -> None:
    """CVE-2025-0750."""
    for name in ("../../x", "/x", "a/b", "\u202e", "x" * 4096):
        pod = node.pod()
        pod.metadata.name = pod.metadata.namespace = name
        pods.run(pod)
    made = {path.name for kind in ("sandboxes", "etc") for path in (node.base / "run" / kind).iterdir()}
    assert made == node.sandboxes
    before = files_of(node.base)
    for id_ in ("../..", "../../root", "..", ".", "/", "a/../b", "\0", "x" * 4096):
        for call, request in calls_by_id(client, id_):
            with pytest.raises(grpc.RpcError) as caught:
                call(request)
            assert caught.value.code() in (CODES.NOT_FOUND, CODES.INVALID_ARGUMENT), (id_, request)
        client.StopContainer(api.StopContainerRequest(container_id=id_))
        client.RemoveContainer(api.RemoveContainerRequest(container_id=id_))
        client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=id_))
        client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=id_))
    assert files_of(node.base) == before


def calls_by_id(client: CriClient, id_: str) -> Iterator[tuple[Callable[[Any], Any], Any]]:
    yield client.ContainerStatus, api.ContainerStatusRequest(container_id=id_)
    yield client.PodSandboxStatus, api.PodSandboxStatusRequest(pod_sandbox_id=id_)
    yield client.StartContainer, api.StartContainerRequest(container_id=id_)
    yield client.ExecSync, api.ExecSyncRequest(container_id=id_, cmd=["true"])
    yield client.ReopenContainerLog, api.ReopenContainerLogRequest(container_id=id_)
    yield client.ContainerStats, api.ContainerStatsRequest(container_id=id_)
    yield client.PortForward, api.PortForwardRequest(pod_sandbox_id=id_, port=[80])


def test_a_file_of_the_node_is_no_image_and_no_checkpoint_is_restored(
    client: CriClient, node: Node, pods: Pods, tmp_path: Path
) -> None:
    """CVE-2026-53492, CVE-2026-50195, CVE-2026-53489, CVE-2024-8676: an archive's word on mounts, devices and logs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("spec.dump", "config.dump", "checkpoint/inventory.img"):
            tar.addfile(tarfile.TarInfo(name))
    archive = tmp_path / "checkpoint.tar"
    archive.write_bytes(out.getvalue())
    sandbox = node.pod()
    pod = pods.run(sandbox)
    for image in (str(archive), f"file://{archive}", f"oci-archive:{archive}", "../../checkpoint.tar"):
        spec = api.ImageSpec(image=image, annotations={"io.kubernetes.cri-o.annotations.checkpoint.name": "x"})
        assert refused(client.PullImage, api.PullImageRequest(image=spec))[0] == CODES.INVALID_ARGUMENT
        config = node.container("true")
        config.image.CopyFrom(spec)
        config.annotations["org.criu.config"] = str(archive)
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        assert refused(client.CreateContainer, request)[0] in (CODES.INVALID_ARGUMENT, CODES.NOT_FOUND)
    tags = [tag for image in client.ListImages(api.ListImagesRequest()).images for tag in image.repo_tags]
    assert tags == [node.image]
    request = api.CheckpointContainerRequest(container_id="x", location=str(tmp_path / "out.tar"))
    assert refused(client.CheckpointContainer, request)[0] == CODES.UNIMPLEMENTED
    assert not (tmp_path / "out.tar").exists()


def test_no_secret_of_a_pull_or_an_exec_is_kept_or_told(
    client: CriClient, node: Node, pods: Pods, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Hazards "secrets" and "token": the log, the errors and the files that others could come by."""
    with running_registry(tmp_path_factory.mktemp("closed"), auth=True) as closed:
        image = api.ImageSpec(image=push(busybox(), closed, "test/closed", "1"))
        right = api.AuthConfig(username=USERNAME, password=PASSWORD)
        client.PullImage(api.PullImageRequest(image=image, auth=right))
        for wrong in (
            api.AuthConfig(username=USERNAME, password="SECRET-1"),
            api.AuthConfig(registry_token="SECRET-2"),
            api.AuthConfig(identity_token="SECRET-3"),
            api.AuthConfig(auth="U0VDUkVULTQ="),
        ):
            _, message = refused(client.PullImage, api.PullImageRequest(image=image, auth=wrong))
            assert "SECRET" not in message
    _, container = pods.start("sleep 1000")
    url = client.Exec(api.ExecRequest(container_id=container, cmd=["true"], stdout=True)).url
    token = url.rpartition("/")[2]
    log = (node.base / "crispd.log").read_text()
    assert "test/closed" in log
    for secret in (PASSWORD, "SECRET", "U0VDUkVULTQ", token):
        assert secret not in log
        kept = (path for path in node.base.rglob("*") if path.is_file())
        of_daemon = (path for path in kept if not {"blobs", "rootfs", "ns"} & set(path.parts))
        assert [path for path in of_daemon if secret.encode() in path.read_bytes()] == []


def test_a_message_beyond_the_limit_is_refused_and_the_next_is_served(client: CriClient, node: Node) -> None:
    """Hazard "daemon socket", and the limit that the kubelet's client has, too."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"unix:{node.base}/run/crisp.sock", options=options) as channel:
        call = channel.unary_unary("/runtime.v1.RuntimeService/Version", request_serializer=bytes)
        with pytest.raises(grpc.RpcError) as caught:
            call(bytes(MAX_MESSAGE + 1))
    assert caught.value.code() == CODES.RESOURCE_EXHAUSTED
    assert client.Version(api.VersionRequest()).runtime_name
