"""Pods with a user namespace of their own, under OCI runtimes that know nothing of id-mapped mounts."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from core.linux.mount import mount, umount_all
from cri import api
from rig.cri_client import CriClient
from rig.node import Node, wait_until
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Pods

pytestmark = pytest.mark.root
FIRST, LENGTH = 300_000, 65536
NS_GET_USERNS = 0xB701  # ioctl_ns(2)
Modes = api.NamespaceMode


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory that others may pass through, as /run and /var/lib are and pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="crisp-userns-", dir="/var/tmp") as made:
        os.chmod(made, 0o711)
        yield Path(made)


@pytest.fixture(params=["crun", "runc"])
def handler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def line(**changes: int) -> api.IDMapping:
    return api.IDMapping(**{"host_id": FIRST, "container_id": 0, "length": LENGTH, **changes})


def namespaces(*lines: api.IDMapping, mode: int = Modes.POD, pid: int = Modes.CONTAINER, **other: int) -> Any:
    users = api.UserNamespace(mode=mode, uids=lines, gids=lines)
    return api.NamespaceOption(userns_options=users, pid=pid, **other)


class Users:
    """Runs pods whose root is user FIRST of the node."""

    def __init__(self, node: Node, client: CriClient, handler: str) -> None:
        self._node = node
        self._client = client
        self._handler = handler

    def run(self, options: api.NamespaceOption) -> tuple[str, api.PodSandboxConfig]:
        sandbox = self._node.pod(security_context=api.LinuxSandboxSecurityContext(namespace_options=options))
        request = api.RunPodSandboxRequest(config=sandbox, runtime_handler=self._handler)
        pod = str(self._client.RunPodSandbox(request).pod_sandbox_id)
        self._node.sandboxes.add(pod)
        return pod, sandbox

    def start(self, config: api.ContainerConfig, options: api.NamespaceOption | None = None) -> str:
        """The id of a running container in a pod of its own."""
        options = options or namespaces(line())
        pod, sandbox = self.run(options)
        config.linux.security_context.namespace_options.CopyFrom(options)
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        container = str(self._client.CreateContainer(request).container_id)
        self._client.StartContainer(api.StartContainerRequest(container_id=container))
        return container

    def see(self, container: str, script: str) -> str:
        """What `script` prints in the container, errors included."""
        command = ["/bin/sh", "-c", script]
        request = api.ExecSyncRequest(container_id=container, cmd=command, timeout=int(patient(20)))
        done = self._client.ExecSync(request)
        return str((done.stdout + done.stderr).decode())

    def log(self, container: str) -> str:
        status = self._client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status
        return Path(status.log_path).read_text()


@pytest.fixture
def users(node: Node, client: CriClient, handler: str) -> Users:
    return Users(node, client, handler)


def process_with(marker: str) -> Path:
    """The directory in /proc of the one process that runs `sleep marker`."""
    wanted = f"sleep\0{marker}\0".encode()
    return next(one for one in Path("/proc").glob("[0-9]*") if _cmdline(one) == wanted)


def _cmdline(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def owner_of(namespace: Path) -> int:
    """Inode of the user namespace that owns `namespace`."""
    fd = os.open(namespace, os.O_RDONLY)
    owner = fcntl.ioctl(fd, NS_GET_USERNS)
    try:
        return os.fstat(owner).st_ino
    finally:
        os.close(owner)
        os.close(fd)


def test_root_of_the_pod_is_nobody_to_the_node_and_owns_its_namespaces(node: Node, users: Users) -> None:
    """CVE-2025-47291: and its cgroup is where the kubelet said."""
    device = os.stat("/dev/null")
    container = users.start(node.container("exec sleep 7001"))
    assert users.see(container, "cat /proc/self/uid_map; id -u").split() == ["0", str(FIRST), str(LENGTH), "0"]
    process = process_with("7001")
    status = (process / "status").read_text()
    assert f"\nUid:\t{FIRST}\t" in status
    assert f"\nGid:\t{FIRST}\t" in status
    own = (process / "ns/user").stat().st_ino
    assert own != Path("/proc/self/ns/user").stat().st_ino
    assert {owner_of(process / "ns" / kind) for kind in ("net", "ipc", "uts", "pid", "mnt")} == {own}
    assert f"/{node.cgroup}/{container}" in (process / "cgroup").read_text()
    assert os.stat("/dev/null").st_uid == device.st_uid  # crun gives standard streams away, and must not have that one


def test_a_pod_on_the_nodes_network_can_have_users_of_its_own(client: CriClient, node: Node, users: Users) -> None:
    wait_until(lambda: client.Status(api.StatusRequest()).features.user_namespaces_host_network, "it is found out")
    container = users.start(node.container("exec sleep 7010"), namespaces(line(), network=Modes.NODE))
    assert users.see(container, "cat /proc/self/uid_map; id -u").split() == ["0", str(FIRST), str(LENGTH), "0"]
    process = process_with("7010")
    assert (process / "ns/net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino
    assert "lo" in users.see(container, "ls /sys/class/net").split()
    assert "can't create" in users.see(container, "echo 1 > /sys/kernel/mm/ksm/run")
    assert "Operation not permitted" in users.see(container, "ip link set lo down")


def test_image_and_pod_files_belong_to_the_pods_root_and_new_ones_to_the_nodes_id(node: Node, users: Users) -> None:
    container = users.start(node.container("exec sleep 7002"))
    seen = users.see(container, "stat -c '%u %g' / /bin/busybox /etc/passwd /etc/hosts /dev/shm")
    assert seen.split("\n") == ["0 0"] * 5 + [""]
    assert users.see(container, "echo a > /new; echo b >> /etc/passwd; echo c >> /etc/hosts; echo d > /dev/shm/x") == ""
    uppers = list((node.base / "root/snapshots").glob("*/fs/new"))
    assert [(one.stat().st_uid, one.stat().st_gid) for one in uppers] == [(FIRST, FIRST)]


def test_another_pod_of_the_same_image_sees_the_files_as_they_are(node: Node, users: Users, pods: Pods) -> None:
    users.start(node.container("exec sleep 7003"))
    _, plain = pods.start("exec sleep 7004")
    assert users.see(plain, "stat -c %u /bin/busybox") == "0\n"


def test_logs_are_written_and_standard_output_can_be_opened_anew(node: Node, users: Users) -> None:
    config = node.container("echo one; echo two > /dev/stdout; echo three > /dev/stderr; exec sleep 7005")
    container = users.start(config)
    wait_until(lambda: "three" in users.log(container), "the log is written")
    assert sorted(entry.split()[-1] for entry in users.log(container).splitlines()) == ["one", "three", "two"]
    assert users.see(container, "echo four > /dev/stdout") == "four\n"


def test_another_user_of_the_pod_can_open_its_standard_output(node: Node, users: Users) -> None:
    config = node.container("id -u > /dev/stdout; exec sleep 7006")
    config.linux.security_context.run_as_user.value = 1000
    container = users.start(config)
    wait_until(lambda: "1000" in users.log(container), "the log is written")


def test_containers_of_a_pod_can_share_a_pid_namespace(node: Node, users: Users) -> None:
    container = users.start(node.container("exec sleep 7007"), namespaces(line(), pid=Modes.POD))
    assert "crisp-init" in users.see(container, "ps")
    process = process_with("7007")
    assert owner_of(process / "ns/pid") == (process / "ns/user").stat().st_ino
    init = next(one for one in node.processes() if Path(f"/proc/{one}/comm").read_text() == "crisp-init\n")
    status = Path(f"/proc/{init}/status").read_text()
    assert f"\nUid:\t{FIRST}\t{FIRST}\t{FIRST}\t" in status
    assert "\nCapEff:\t0000000000000000\n" in status


def test_volumes_that_are_mapped_keep_their_owner_on_disk(node: Node, users: Users, tmp_path: Path) -> None:
    directory, file = tmp_path / "directory", tmp_path / "file"
    directory.mkdir()
    (directory / "old").write_text("")
    file.write_text("content\n")
    config = node.container("exec sleep 7008")
    for place in (directory, file):
        mapped = config.mounts.add(container_path=f"/{place.name}", host_path=str(place))
        mapped.uidMappings.append(line())
        mapped.gidMappings.append(line())
    container = users.start(config)
    assert users.see(container, "touch /directory/new; stat -c %u /directory /directory/* /file").split() == ["0"] * 4
    assert users.see(container, "cat /file") == "content\n"
    assert (directory / "new").stat().st_uid == 0


def test_what_the_node_mounts_in_a_volume_arrives_and_outlives_the_pod(
    client: CriClient, node: Node, users: Users, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    mount("volume", str(volume), "tmpfs", 0, "size=64k")
    mount("", str(volume), "", 1 << 20)  # MS_SHARED, as a node's filesystems are under systemd
    try:
        (volume / "later").mkdir()
        config = node.container("exec sleep 7009")
        mapped = config.mounts.add(
            container_path="/v",
            host_path=str(volume),
            propagation=api.MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
        )
        mapped.uidMappings.append(line())
        mapped.gidMappings.append(line())
        container = users.start(config)
        mount("later", str(volume / "later"), "tmpfs", 0, "size=64k,mode=1777")
        assert "/v/later" in users.see(container, "mount")
        client.RemoveContainer(api.RemoveContainerRequest(container_id=container))
        assert (volume / "later").is_mount()
    finally:
        umount_all(str(volume))


def test_a_volume_that_cannot_be_mapped_is_an_error_that_names_it(node: Node, users: Users) -> None:
    config = node.container("true")
    mapped = config.mounts.add(container_path="/v", host_path="/proc/sys")
    mapped.uidMappings.append(line())
    mapped.gidMappings.append(line())
    with pytest.raises(grpc.RpcError, match="/proc/sys: its filesystem") as caught:
        users.start(config)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_status_tells_which_handlers_have_user_namespaces(client: CriClient, node: Node) -> None:
    def told() -> dict[str, bool]:
        handlers = client.Status(api.StatusRequest()).runtime_handlers
        return {one.name: one.features.user_namespaces for one in handlers}

    device = os.stat("/dev/null")
    wait_until(lambda: all(told().values()), "all handlers have shown that they can")
    assert told() == {"": True, "crun": True, "runc": True}
    assert os.stat("/dev/null").st_uid == device.st_uid


def test_two_mappings_are_refused(client: CriClient, node: Node) -> None:
    """CVE-2021-43784: so no mapping is long."""
    users = Users(node, client, "")
    with pytest.raises(grpc.RpcError, match="want one mapping, not 2") as caught:
        users.run(namespaces(line(length=10), line(container_id=10, length=10)))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_container_cannot_have_other_users_than_its_pod(client: CriClient, node: Node) -> None:
    users = Users(node, client, "")
    pod, sandbox = users.run(namespaces(line()))
    config = node.container("true")
    config.linux.security_context.namespace_options.CopyFrom(namespaces(line(host_id=FIRST + 1)))
    request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
    with pytest.raises(grpc.RpcError, match="not the same as the sandbox's"):
        client.CreateContainer(request)


def test_what_a_crash_left_mounted_for_users_is_swept_at_start(client: CriClient, node: Node) -> None:
    node.end(signal.SIGKILL)
    for path in ("layers", "mapped/0", "mapped/1"):
        place = node.base / "run/containers/orphan" / path
        place.mkdir(parents=True)
        if path != "mapped/1":
            mount("left", str(place), "tmpfs", 0, "size=4k")
    with node.start():
        node.wait_swept()
