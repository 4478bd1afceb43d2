"""What has gone wrong in runtimes like this one (CVE numbers in the names of what is tried), as far as containers go.

Each test ends, by its fixtures, with the proof that the daemon lives and that nothing is left.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cri import api
from rig.cri_calls import refused, run, status, verbose, wait_exited
from rig.cri_client import CriClient
from rig.images import build, busybox, files, layer, push
from rig.patience import patient
from rig.registry import running_registry

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
REFUSED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_registry(tmp_path_factory.mktemp("hazards")) as running:
        yield running


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of the node that nobody has any business in, with one file."""
    directory = tmp_path / "host"
    directory.mkdir()
    (directory / "sentinel").write_text("of the node")
    return directory


def pulled(client: CriClient, registry: Any, tag: str, *tars: bytes, **config: Any) -> str:
    """A BusyBox with more layers and another config."""
    layers = [*busybox().layers, *map(layer, tars)]
    name = push(build(layers, config={"Env": ["PATH=/bin"], **config}), registry, "test/hazards", tag)
    client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=name)))
    return str(name)


def config_of(node: Node, image: str, script: str = "sleep 1000", **security: Any) -> api.ContainerConfig:
    config = node.container(script)
    config.image.image = image
    config.linux.security_context.CopyFrom(api.LinuxContainerSecurityContext(**security))
    config.linux.security_context.namespace_options.pid = api.NamespaceMode.CONTAINER
    return config


def tried(client: CriClient, node: Node, pods: Pods, config: api.ContainerConfig) -> str:
    """Create and start; the id, or "" when that was refused."""
    sandbox = node.pod()
    try:
        container = pods.create(pods.run(sandbox), sandbox, config)
        client.StartContainer(api.StartContainerRequest(container_id=container))
    except grpc.RpcError:
        return ""
    return container


def untouched(host: Path) -> bool:
    """Whether the directory is as it was made."""
    found = {path.name: path.read_text() for path in host.iterdir()}
    return found == {"sentinel": "of the node"} and host.stat().st_uid == 0


def special(path: str, kind: bytes, device: tuple[int, int] = (1, 5)) -> bytes:
    """A tar with one entry that is no file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(path)
        info.type, info.mode, (info.devmajor, info.devminor) = kind, 0o644, device
        tar.addfile(info)
    return out.getvalue()


def test_a_user_that_wraps_to_root_is_refused(client: CriClient, node: Node, pods: Pods, registry: Any) -> None:
    """CVE-2024-40635, CVE-2026-46680."""
    passwd = files({"etc/passwd": b"root:x:0:0::/:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n1_0:x:0:0::/:/bin/sh\n"})
    sandbox = node.pod()
    pod = pods.run(sandbox)
    users = ("2147483648", "4294967296", "4294967296:0", "-1", "0:2147483648", "9" * 36, "\uff11", "1_0", "+0")
    for number, user in enumerate(users):
        config = config_of(node, pulled(client, registry, f"user{number}", passwd, User=user))
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        assert refused(client.CreateContainer, request)[0] == grpc.StatusCode.INVALID_ARGUMENT, user


def test_user_files_that_never_end_or_are_none_are_refused_in_no_time(
    client: CriClient, node: Node, pods: Pods, registry: Any, host: Path
) -> None:
    """CVE-2026-47262, CVE-2025-4437, CVE-2024-9676."""
    os.mkfifo(host / "fifo")
    tars = {
        "large": files({"etc/group": b"a:x:1:\n" * (11 << 20 >> 3) * 2}),
        "fifo": special("etc/passwd", tarfile.FIFOTYPE),
        "device": special("etc/passwd", tarfile.CHRTYPE),
        "directory": special("etc/group", tarfile.DIRTYPE),
    }
    sandbox = node.pod()
    pod = pods.run(sandbox)
    for tag, tar in tars.items():
        config = config_of(node, pulled(client, registry, tag, tar), run_as_username="nobody")
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        began = time.monotonic()
        assert refused(client.CreateContainer, request)[0] in REFUSED, tag
        assert time.monotonic() - began < 5, tag
    for number, target in enumerate((f"{'../' * 20}{host}/fifo", "/proc/self/environ", "/proc/self/fd/0", "passwd")):
        link = files({"etc/passwd": target})
        config = config_of(node, pulled(client, registry, f"link{number}", link), run_as_username="nobody")
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        assert refused(client.CreateContainer, request)[0] == grpc.StatusCode.INVALID_ARGUMENT
    (host / "fifo").unlink()


def test_no_descriptor_of_the_node_gets_in(client: CriClient, node: Node, pods: Pods, registry: Any) -> None:
    """CVE-2024-21626: by the working directory, plain or behind a link, or by inheritance."""
    for number in (3, 7, 8, 15):
        image = pulled(client, registry, f"cwd{number}", WorkingDir=f"/proc/self/fd/{number}")
        assert tried(client, node, pods, config_of(node, image)) == ""
    link = files({"w": "/proc/self/fd/7"})
    container = tried(client, node, pods, config_of(node, pulled(client, registry, "cwd-link", link, WorkingDir="/w")))
    if container:
        assert run(client, container, "ls -di /proc/1/cwd/. / | cut -d' ' -f1 | uniq | wc -l").strip() == "1"
    container = tried(client, node, pods, config_of(node, node.image, "while :; do sleep 0.05; done"))
    assert run(client, container, "ls /proc/1/fd | sort -n | head -4").split()[:3] == ["0", "1", "2"]
    assert "anon_inode" not in run(client, container, "ls -l /proc/1/fd /proc/self/fd")


def test_mounts_over_links_of_the_image_stay_inside(
    client: CriClient, node: Node, pods: Pods, registry: Any, host: Path, tmp_path: Path
) -> None:
    """CVE-2021-30465, CVE-2024-5154, CVE-2024-9341, CVE-2024-45310, CVE-2025-31133, CVE-2026-41579.

    /data, /etc and /dev lead to the node.
    """
    up = f"{'../' * 20}{host}".replace("//", "/")
    (tmp_path / "volume").mkdir()
    for number, links in enumerate(({"data": str(host)}, {"data": up}, {"dev": str(host)}, {"dev": up})):
        config = config_of(node, pulled(client, registry, f"link{number}", files(links)))
        config.mounts.add(host_path=str(tmp_path / "volume"), container_path="/data/x")
        started = tried(client, node, pods, config)
        assert untouched(host), links
        assert not (started and "dev" in links)
    dev = {"dev/null": f"{host}/null", "dev/console": f"{host}/console", "dev/ptmx": up, "dev/pts": up, "dev/shm": up}
    tried(client, node, pods, config_of(node, pulled(client, registry, "dev", files(dev))))
    assert untouched(host)
    etc = build([layer(files({"etc": up, "bin/sh": b"x"}))])
    name = push(etc, registry, "test/hazards", "etc")
    client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=name)))
    tried(client, node, pods, config_of(node, name))
    assert untouched(host)


def test_an_image_whose_proc_is_a_link_gets_no_false_proc(
    client: CriClient, node: Node, pods: Pods, registry: Any, host: Path
) -> None:
    """CVE-2019-19921, CVE-2023-27561."""
    for number, target in enumerate((str(host), "/tmp/proc", "sys")):
        tar = files({"proc": target, "tmp/proc/self/x": b""})
        assert tried(client, node, pods, config_of(node, pulled(client, registry, f"proc{number}", tar))) == ""
        assert untouched(host)


def test_no_link_of_an_image_leads_a_mount_over_proc(
    client: CriClient, node: Node, pods: Pods, registry: Any, tmp_path: Path
) -> None:
    """CVE-2019-16884, CVE-2023-28642, CVE-2025-52881: by a volume of the image or of the pod, or just by /etc/hosts.

    The OCI runtime would write the LSM's label, or leave out what it masks, in files of the image's.
    """
    (tmp_path / "volume").mkdir()
    for number, (links, config) in enumerate(
        (
            ({"data": "/proc", "proc/self/attr/exec": b"false"}, {"Volumes": {"/data": {}}}),
            ({"data": "proc/.."}, {"Volumes": {"/data/proc/sys": {}}}),
            ({"data": "/sys"}, {"Volumes": {"/data": {}}}),
            ({"pod": "../proc"}, {}),
            ({"etc/hosts": "/proc/self/attr/exec"}, {}),
        )
    ):
        image = pulled(client, registry, f"detour{number}", files(links), **config)
        asked = config_of(node, image)
        asked.mounts.add(host_path=str(tmp_path / "volume"), container_path="/pod")
        sandbox = node.pod()
        pod = pods.run(sandbox)
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=asked, sandbox_config=sandbox)
        code, message = refused(client.CreateContainer, request)
        assert (code, "image: links lead" in message) == (grpc.StatusCode.INVALID_ARGUMENT, True), links


def test_an_exec_never_changes_a_program_of_the_node(client: CriClient, node: Node, pods: Pods, registry: Any) -> None:
    """CVE-2019-5736: the image's shell is whatever executes it."""
    tar = files({"bin/evil": b"#!/proc/self/exe\n"}, mode=0o755)
    container = tried(client, node, pods, config_of(node, pulled(client, registry, "exe", tar)))
    programs = [Path(path) for path in ("/usr/bin/crun", os.path.realpath("/proc/self/exe"))]
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in programs]
    request = api.ExecSyncRequest(container_id=container, cmd=["/bin/evil"], timeout=int(patient(10)))
    try:
        assert client.ExecSync(request).exit_code != 0
    except grpc.RpcError as exc:
        assert exc.code() == grpc.StatusCode.INTERNAL  # type: ignore[attr-defined]
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in programs] == before


def test_nothing_is_inheritable(client: CriClient, node: Node, pods: Pods) -> None:
    """CVE-2022-24769, CVE-2022-27652; in an exec, CVE-2022-29162."""
    for privileged in (False, True):
        sandbox = node.pod()
        sandbox.linux.security_context.privileged = privileged
        container = pods.create(pods.run(sandbox), sandbox, config_of(node, node.image, privileged=privileged))
        client.StartContainer(api.StartContainerRequest(container_id=container))
        assert run(client, container, "grep -h CapInh /proc/1/status /proc/self/status | sort -u").split() == [
            "CapInh:",
            "0" * 16,
        ]


def test_devices_of_an_image_do_not_open(client: CriClient, node: Node, pods: Pods, registry: Any) -> None:
    """Hazard "devices/xattrs/modes": a layer may have them, and a root may make them; the cgroup is in the way."""
    memory = special("mem", tarfile.CHRTYPE, (1, 1))
    disk = special("disk", tarfile.BLKTYPE, (os.major(os.stat("/").st_dev), os.minor(os.stat("/").st_dev)))
    container = tried(client, node, pods, config_of(node, pulled(client, registry, "devices", memory, disk)))
    for script in ("head -c1 /mem", "head -c1 /disk", "mknod /own c 1 1; head -c1 /own", "echo x > /disk"):
        assert run(client, container, script).rstrip().endswith("Operation not permitted"), script


def test_an_environment_writes_no_line_of_passwd(client: CriClient, node: Node, pods: Pods) -> None:
    """CVE-2022-4318, CVE-2026-15809: CRI-O made a user from HOME; nobody here writes that file at all."""
    for home in ("/root\nx::0:0::/:/bin/sh", "/root\rx::0:0::/:/bin/sh"):
        config = config_of(node, node.image)
        config.envs.add(key="HOME", value=home.encode())
        container = tried(client, node, pods, config)
        assert run(client, container, "cat /etc/passwd; id").splitlines()[:2] == [
            "root:x:0:0:root:/root:/bin/sh",
            "nobody:x:65534:65534:nobody:/:/bin/false",
        ]
        assert home.replace("\n", "\\n") in json.dumps(verbose(client, container)["runtimeSpec"]).replace("\\r", "\r")
    sandbox = node.pod()
    config = config_of(node, node.image, run_as_username="nobody\nx::0:0::/:/bin/sh")
    request = api.CreateContainerRequest(pod_sandbox_id=pods.run(sandbox), config=config, sandbox_config=sandbox)
    assert refused(client.CreateContainer, request)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_a_seccomp_profile_that_cannot_be_had_is_never_left_out(
    client: CriClient, node: Node, pods: Pods, tmp_path: Path
) -> None:
    """CVE-2023-2431."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text").write_text("no JSON")
    (tmp_path / "any").write_text('{"any": 1}')
    local = api.SecurityProfile.ProfileType.Localhost
    sandbox = node.pod()
    pod = pods.run(sandbox)
    places = ("", "../../x", "/none.json", str(tmp_path), *(f"{tmp_path}/{name}" for name in ("fifo", "text", "any")))
    for place in places:
        for security in (
            {"seccomp": api.SecurityProfile(profile_type=local, localhost_ref=place)},
            {"seccomp_profile_path": f"localhost/{place}"},
        ):
            config = config_of(node, node.image, **security)
            request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
            assert refused(client.CreateContainer, request)[0] == grpc.StatusCode.INVALID_ARGUMENT, place


def test_a_file_that_the_kubelet_mounts_is_left_as_it_is(
    client: CriClient, node: Node, pods: Pods, host: Path
) -> None:
    """CVE-2021-43816: no label is changed for anybody; hazard "termination-log": a bind, and nobody replaces it."""
    message = host / "sentinel"
    os.setxattr(message, "security.selinux", b"of the node")
    config = config_of(node, node.image)
    for path in ("/etc/hosts", "/dev/termination-log"):
        config.mounts.add(host_path=str(message), container_path=path, selinux_relabel=True)
    container = tried(client, node, pods, config)
    log = "/dev/termination-log"
    seen = run(client, container, f"rm {log}; mv /etc/passwd {log}; ln -sf /etc/passwd {log}; printf told > {log}")
    assert seen.count("busy") >= 2
    assert message.read_text() == "told"
    assert os.getxattr(message, "security.selinux") == b"of the node"
    message.write_text("of the node")
    assert untouched(host)


def test_a_flood_of_output_is_not_the_containers_memory_nor_the_shims(
    client: CriClient, node: Node, pods: Pods
) -> None:
    """CVE-2019-14891, CVE-2023-6476: who writes the log is outside of the container's cgroup."""
    config = config_of(node, node.image, "head -c 40000000 /dev/zero | tr '\\0' x; exit 7")
    config.linux.resources.memory_limit_in_bytes = 16 << 20
    container = tried(client, node, pods, config)
    (shim,) = (pid for pid in node.processes() if Path(f"/proc/{pid}/comm").read_text().startswith("crisp-shim"))
    assert node.cgroup not in Path(f"/proc/{shim}/cgroup").read_text()
    assert wait_exited(client, container).exit_code == 7
    fields = Path(f"/proc/{shim}/status").read_text().splitlines()
    assert next(int(line.split()[1]) for line in fields if line.startswith("VmHWM:")) < 60_000  # kB


def test_containers_made_at_once_have_each_its_own_environment(client: CriClient, node: Node, pods: Pods) -> None:
    """CVE-2021-21334."""
    sandbox = node.pod()
    pod = pods.run(sandbox)

    def create(number: int) -> str:
        config = node.container("true", f"c{number}")
        config.envs.add(key="NUMBER", value=str(number).encode())
        return pods.create(pod, sandbox, config)

    with ThreadPoolExecutor(8) as threads:
        containers = list(threads.map(create, range(24)))
    for number, container in enumerate(containers):
        env = verbose(client, container)["runtimeSpec"]["process"]["env"]
        assert [pair for pair in env if pair.startswith("NUMBER=")] == [f"NUMBER={number}"]


def test_labels_of_an_image_are_only_its_own(client: CriClient, node: Node, pods: Pods, registry: Any) -> None:
    """CVE-2026-53488."""
    labels = {
        "containerd.io/restart.loguri": "binary:///bin/sh?-c=true",
        "io.kubernetes.cri.sandbox-id": "forged",
        "io.kubernetes.container.name": "forged",
        "cdi.k8s.io/x": "vendor.com/gpu=0",
        "run.oci.handler": "wasm",
    }
    image = pulled(client, registry, "labels", Labels=labels)
    container = tried(client, node, pods, config_of(node, image))
    found = status(client, container)
    assert not {**found.labels, **found.annotations}
    assert "forged" not in json.dumps(verbose(client, container)["runtimeSpec"])
    filter_ = api.ContainerFilter(label_selector={"io.kubernetes.container.name": "forged"})
    assert not client.ListContainers(api.ListContainersRequest(filter=filter_)).containers


def test_output_without_end_costs_no_memory_and_blocks_nobody(client: CriClient, node: Node, pods: Pods) -> None:
    """CVE-2022-31030, CVE-2022-1708."""
    _, container = pods.start("sleep 1000")
    assert node.process
    with ThreadPoolExecutor(4) as threads:
        flood = "head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2; exit 7"
        cmd = ["/bin/sh", "-c", flood]
        request = api.ExecSyncRequest(container_id=container, cmd=cmd, timeout=int(patient(60)))
        for reply in threads.map(client.ExecSync, [request] * 4):
            assert reply.exit_code == 7
            assert 0 < reply.ByteSize() <= 16 << 20
    fields = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in fields if line.startswith("VmRSS:"))
    assert resident < 300_000  # kB; four replies of 16 MB at once, not 800 MB


def test_a_log_goes_through_no_link(client: CriClient, node: Node, pods: Pods, host: Path, tmp_path: Path) -> None:
    """Hazard "log path": at the start."""
    for place in ("main", "main/0.log"):
        sandbox = node.pod()
        logs = Path(sandbox.log_directory)
        (logs / place).parent.mkdir(exist_ok=True)
        (logs / place).symlink_to(host if place == "main" else host / "new")
        config = node.container("echo written")
        config.log_path = "main/0.log"
        container = pods.create(pods.run(sandbox), sandbox, config)
        refused(client.StartContainer, api.StartContainerRequest(container_id=container))
        assert status(client, container).reason == "StartError"
        assert untouched(host)
    sandbox = node.pod()
    (tmp_path / "logs-link").symlink_to(sandbox.log_directory)  # the node's own link on the way is no harm
    sandbox.log_directory = str(tmp_path / "logs-link")
    config = node.container("echo written")
    config.log_path = "main/0.log"
    container = pods.create(pods.run(sandbox), sandbox, config)
    client.StartContainer(api.StartContainerRequest(container_id=container))
    wait_exited(client, container)
    assert status(client, container).log_path == f"{tmp_path}/logs-link/main/0.log"
    assert (tmp_path / "logs-link/main/0.log").read_text().endswith("written\n")


def test_a_log_that_is_rotated_goes_on_in_no_link_fifo_or_device(
    client: CriClient, node: Node, pods: Pods, host: Path
) -> None:
    """Hazard "log path": a pod with the node's /var/log puts something there before ReopenContainerLog."""
    sandbox = node.pod()
    path = Path(sandbox.log_directory) / "main.log"
    container = pods.create(pods.run(sandbox), sandbox, node.container("mkfifo /tmp/fifo; cat /tmp/fifo"))
    client.StartContainer(api.StartContainerRequest(container_id=container))
    assert path.stat().st_mode & 0o777 == 0o640
    (path.parent / "old").hardlink_to(path)
    reopen = api.ReopenContainerLogRequest(container_id=container)
    for put in (
        lambda: path.symlink_to(host / "new"),
        lambda: path.symlink_to(host / "sentinel"),
        lambda: os.mkfifo(path),
        lambda: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
        path.mkdir,
    ):
        path.unlink()
        put()
        refused(client.ReopenContainerLog, reopen)
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
            path.touch()
    line = "head -c 40000 /dev/zero | tr '\\0' x; echo"
    run(client, container, f"until [ -p /tmp/fifo ]; do sleep 0.02; done; {{ {line}; }} > /tmp/fifo")
    wait_exited(client, container)
    lines = [line.split(" ", 3)[2:] for line in (path.parent / "old").read_text().splitlines()]
    assert [(tag, len(text)) for tag, text in lines] == [("P", 16384), ("P", 16384), ("F", 40000 - 2 * 16384)]
    assert untouched(host)


def test_names_are_never_paths(client: CriClient, node: Node, pods: Pods, tmp_path: Path) -> None:
    """CVE-2025-0750."""
    sandbox = node.pod()
    pod = pods.run(sandbox)
    before = set(tmp_path.iterdir())
    for name in ("../../x", "/x", "a/b", "\0", "x" * 4096, "\u202e"):
        config = node.container("true")
        config.metadata.name = name
        request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        try:
            container = client.CreateContainer(request).container_id
            client.StartContainer(api.StartContainerRequest(container_id=container))
        except grpc.RpcError as exc:
            assert exc.code() in REFUSED  # type: ignore[attr-defined]
    assert set(tmp_path.iterdir()) == before
    assert {len(path.name) for path in (tmp_path / "run/containers").iterdir()} <= {64}
