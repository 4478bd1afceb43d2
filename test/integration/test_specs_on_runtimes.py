"""OCI specs as crispd writes them, under real OCI runtimes, seen from inside the container."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.linux.mount import MS_PRIVATE, mount, umount_all
from core.oci.paths import MASKED
from core.shim.namespaces import make_namespaces, make_shm, remove_namespaces
from cri.container.spec.build import build, cgroup_path
from cri.container.spec.identity import effective_user
from cri.container.spec.source import Facts
from rig.cgroups import ensure_cgroups, remove_cgroups
from rig.patience import patient
from rig.specs import source

pytestmark = pytest.mark.root

_DEFAULT_CAPABILITIES = 0xA80425FB  # the fourteen
_NAMESPACES = ("network", "ipc", "uts")
_PASSWD = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n"
_GROUP = "alice:x:1001:\nvideo:x:44:bob,alice\n"


@dataclasses.dataclass(frozen=True)
class Pod:
    directory: Path
    cgroup: str
    facts: Facts

    @property
    def rootfs(self) -> Path:
        return self.directory / "rootfs"


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """A pod's namespaces, files and a root with a busybox; all gone afterwards."""
    ensure_cgroups()
    mount("tmpfs", str(tmp_path), "tmpfs", 0, "size=64m")  # a machine's /tmp may be mounted nodev
    made = Pod(directory=tmp_path, cgroup=f"/crisp-spec-{os.getpid()}", facts=Facts.read())
    _make_rootfs(made.rootfs)
    (tmp_path / "etc").mkdir()
    for name in ("hosts", "hostname", "resolv.conf"):
        (tmp_path / "etc" / name).write_text(f"{name} of the pod\n")
    ns, shm = str(tmp_path / "ns"), str(tmp_path / "shm")
    make_namespaces(ns, ["net", "ipc", "uts"], "web-1", {})
    make_shm(shm, 1 << 20)
    try:
        yield made
    finally:
        remove_namespaces(ns, shm)
        remove_cgroups(made.cgroup)
        umount_all(str(tmp_path), 0)


def _make_rootfs(rootfs: Path) -> None:
    for name in ("bin", "etc", "tmp", "proc", "dev", "sys", "usr", "root", "home/alice"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin" / "busybox")
    for applet in ("sh", "cat", "echo", "id", "ls", "mknod", "touch", "env", "pwd", "hostname", "grep", "mkdir", "dd"):
        (rootfs / "bin" / applet).symlink_to("busybox")
    (rootfs / "etc/passwd").write_text(_PASSWD)
    (rootfs / "etc/group").write_text(_GROUP)


@pytest.fixture(params=["crun", "runc"])
def run(request: pytest.FixtureRequest, pod: Pod) -> Callable[..., str]:
    """Run a shell script in a container; return what it printed, stderr included."""

    def run(script: str, config: dict[str, Any] | None = None, **fields: Any) -> str:
        found = source(
            {"command": ["/bin/sh", "-c", script], **(config or {})},
            {"linux": {"cgroup_parent": pod.cgroup, "security_context": {"privileged": True}}},
            namespaces={kind: str(pod.directory / "ns" / kind.removesuffix("work")) for kind in _NAMESPACES},
            **{
                "shm": str(pod.directory / "shm"),
                "rootfs": str(pod.rootfs),
                "etc": str(pod.directory / "etc"),
                "facts": pod.facts,
                "container_id": f"spec-{os.getpid()}",
                **fields,
            },
        )
        _own_pid_namespace(found.config)
        (pod.directory / "config.json").write_bytes(msgspec.json.encode(build(found, effective_user(found), ())))
        command = [request.param, "--root", str(pod.directory / "state"), "run", "-b", str(pod.directory)]
        done = subprocess.run(
            [*command, found.container_id],
            check=False,
            capture_output=True,
            text=True,
            timeout=patient(60),
            stdin=subprocess.DEVNULL,
        )
        assert cgroup_path(found).startswith(pod.cgroup)
        return done.stdout + done.stderr

    return run


def _own_pid_namespace(config: Any) -> None:
    config.linux.security_context.namespace_options.pid = 1  # CONTAINER, as the kubelet sends it


def _security(**fields: Any) -> dict[str, Any]:
    return {"linux": {"security_context": fields}}


def _status(text: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_an_ordinary_container_has_the_default_capabilities_and_nothing_inheritable(run: Callable[..., str]) -> None:
    status = _status(run("cat /proc/self/status"))
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == _DEFAULT_CAPABILITIES
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "0"


def test_drop_all_and_add_one_leaves_one(run: Callable[..., str]) -> None:
    config = _security(capabilities={"drop_capabilities": ["ALL"], "add_capabilities": ["net_bind_service"]})
    status = _status(run("cat /proc/self/status", config))
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << 10


def test_an_ambient_capability_survives_as_another_user(run: Callable[..., str]) -> None:
    config = _security(
        run_as_user={"value": 1000}, capabilities={"add_ambient_capabilities": ["NET_BIND_SERVICE"]}
    )
    status = _status(run("cat /proc/self/status", config))
    assert int(status["CapEff"], 16) == int(status["CapAmb"], 16) == 1 << 10


def test_another_user_has_no_capabilities_and_the_groups_of_its_image(run: Callable[..., str]) -> None:
    """CVE-2022-2995, CVE-2022-36109, CVE-2023-25173."""
    config = _security(run_as_user={"value": 1000}, supplemental_groups=[1234], no_new_privs=True)
    printed = run("id -u; id -g; id -G; cat /proc/self/status; echo $HOME", config)
    assert printed.splitlines()[:3] == ["1000", "1001", "1001 44 1234"]
    assert printed.splitlines()[-1] == "/home/alice"
    status = _status(printed)
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_strict_groups_leave_the_images_out(run: Callable[..., str]) -> None:
    """CVE-2022-2995, CVE-2022-36109, CVE-2023-25173: nor root's group."""
    config = _security(
        run_as_user={"value": 1000}, supplemental_groups=[1234], supplemental_groups_policy="Strict"
    )
    assert run("id -G", config) == "1001 1234\n"


def test_environment_hostname_and_directory_are_as_asked(run: Callable[..., str]) -> None:
    config = {"envs": [{"key": "A", "value": "YiBj"}], "working_dir": "/tmp"}
    printed = run("echo $A; echo $HOSTNAME; hostname; pwd; echo $$", config)
    assert printed.splitlines() == ["b c", "web-1", "web-1", "/tmp", "1"]


def test_the_pods_files_and_shm_are_there(run: Callable[..., str], pod: Pod) -> None:
    printed = run("cat /etc/hosts /etc/hostname /etc/resolv.conf; echo x > /dev/shm/left")
    assert printed == "hosts of the pod\nhostname of the pod\nresolv.conf of the pod\n"
    assert (pod.directory / "shm/left").exists()


def test_masked_paths_are_empty_and_readonly_ones_refuse(run: Callable[..., str]) -> None:
    """GHSA-7ww5-4wqc-m92c, GHSA-jq35.

    What is written, the domain name of the pod's own UTS namespace, would do no harm if it were not refused.
    """
    look = "for path in %s; do if [ -d $path ]; then ls $path; elif [ -e $path ]; then cat $path; fi; done"
    printed = run(look % " ".join(MASKED) + "; echo x > /proc/sys/kernel/domainname").splitlines()
    assert any(os.path.exists(path) for path in MASKED)
    told = [line for line in printed if "/proc/kcore': Permission denied" not in line]  # AppArmor's default profile
    assert len(told) == 1
    assert told[0].endswith("Read-only file system")


def test_mounts_nest_and_readonly_is_recursive_when_asked(run: Callable[..., str], pod: Pod) -> None:
    outer, inner, deep = (pod.directory / name for name in ("outer", "inner", "outer/deep"))
    for path in (outer, inner, deep):
        path.mkdir()
    mount("tmpfs", str(deep), "tmpfs", 0, "size=64k")
    mount("", str(deep), "", MS_PRIVATE, "")
    try:
        bind = {"host_path": str(outer), "readonly": True}
        config = {
            "mounts": [
                {"container_path": "/a/sub", "host_path": str(inner)},
                {"container_path": "/a", "host_path": str(inner)},
                {"container_path": "/ro", **bind},
                {"container_path": "/rro", "recursive_read_only": True, **bind},
            ]
        }
        printed = run("touch /a/1 /a/sub/2; touch /ro/3; touch /ro/deep/4; touch /rro/5; touch /rro/deep/6", config)
    finally:
        left = sorted(path.name for path in deep.iterdir())
        umount_all(str(deep), 0)
    assert printed.count("Read-only file system") == 3
    assert left == ["4"]
    assert sorted(path.name for path in inner.iterdir()) == ["1", "2", "sub"]


def test_a_readonly_root_refuses_writes_and_volumes_do_not(run: Callable[..., str], pod: Pod) -> None:
    data = {"container_path": "/data", "host_path": str(pod.directory)}
    config = {**_security(readonly_rootfs=True), "mounts": [data]}
    (pod.rootfs / "data").mkdir()
    printed = run("touch /x; touch /data/y; echo z > /etc/hosts", config)
    assert printed.count("Read-only file system") == 2
    assert (pod.directory / "y").exists()


def test_a_dev_that_the_kubelet_mounts_gets_no_nodes(run: Callable[..., str], pod: Pod) -> None:
    dev = pod.directory / "dev"
    dev.mkdir()
    for name, minor in (("null", 3), ("zero", 5)):
        os.mknod(dev / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
    config = {
        "mounts": [{"container_path": "/dev", "host_path": str(dev)}],
        "devices": [{"host_path": "/dev/zero", "container_path": "/dev/asked"}],
        **_security(privileged=True),
    }
    assert run("echo x > /dev/null && ls /dev", config).split() == ["null", "zero"]
    assert sorted(path.name for path in dev.iterdir()) == ["null", "zero"]


def test_limits_reach_the_cgroup(run: Callable[..., str], pod: Pod) -> None:
    limits = {
        "cpu_shares": 512,
        "cpu_quota": 20000,
        "cpu_period": 50000,
        "cpuset_cpus": "0",
        "memory_limit_in_bytes": 32 << 20,
        "hugepage_limits": [{"page_size": "2MB", "limit": 0}],
        "oom_score_adj": 700,
    }
    files = ("cpu/cpu.shares", "cpu/cpu.cfs_quota_us", "cpuset/cpuset.cpus", "memory/memory.limit_in_bytes",
             "hugetlb/hugetlb.2MB.limit_in_bytes")  # fmt: skip
    script = " ".join(f"/sys/fs/cgroup/{file}" for file in files)
    if not pod.facts.layout.controllers:
        script = " ".join(f"/sys/fs/cgroup/{name}" for name in ("cpu.max", "cpuset.cpus", "memory.max"))
    printed = run(f"cat {script} /proc/self/oom_score_adj", {"linux": {"resources": limits}})
    v1 = ["512", "20000", "0", str(32 << 20), "0", "700"]
    assert printed.splitlines() == (v1 if pod.facts.layout.controllers else ["20000 50000", "0", str(32 << 20), "700"])


def test_only_devices_that_were_asked_for_open_and_only_as_asked(run: Callable[..., str], pod: Pod) -> None:
    """The device has the numbers of /dev/kmsg under another name: opening it alone does nothing."""
    node = pod.directory / "kmsg"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 11))
    config = {"devices": [{"host_path": str(node), "container_path": "/dev/asked", "permissions": "w"}]}
    read = "mknod /tmp/sda b 8 0; for path in /tmp/sda /dev/asked; do dd if=$path count=0; done 2>&1 | grep open"
    write = "dd of=/dev/asked conv=notrunc count=0 if=/dev/null 2>&1 | grep open"
    assert run(f"{read}; {write}; echo > /dev/null", config).splitlines() == [
        "dd: can't open '/tmp/sda': Operation not permitted",
        "dd: can't open '/dev/asked': Operation not permitted",
    ]


def test_a_privileged_container_has_everything_that_crispd_has(run: Callable[..., str]) -> None:
    status = _status(run("cat /proc/self/status", _security(privileged=True)))
    own = _status(Path("/proc/self/status").read_text())
    assert status["CapEff"] == status["CapBnd"] == own["CapEff"]
    assert status["Seccomp"] == "0"


_CALLS = """
import ctypes, json, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    child = os.fork()
    if not child:
        ctypes.set_errno(0)
        libc.syscall(number, *(ctypes.c_long(argument) for argument in arguments))
        os._exit(ctypes.get_errno())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
thread = threading.Thread(target=print, args=("thread",), kwargs={"file": sys.stderr})
thread.start(); thread.join()
print(json.dumps({name: call(*arguments) for name, arguments in json.loads(sys.argv[1]).items()}))
"""
_X86_64 = {
    "clone in a new user namespace": (56, 0x10000000 | 17),
    "clone in a new network namespace": (56, 0x40000000 | 17),
    "clone3": (435, 0, 0),
    "unshare": (272, 0x10000000),
    "io_uring_setup": (425, 1, 0),
    "keyctl": (250, 0, 0),
    "bpf": (321, 0, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "socket AF_ALG": (41, 38, 5, 0),
    "socket AF_VSOCK": (41, 40, 1, 0),
    "socket AF_INET": (41, 2, 1, 0),
    "socket AF_UNIX": (41, 1, 1, 0),
    "a call of the future": (1023,),
    "personality of today": (135, 0xFFFFFFFF),
    "ioprio_get": (252, 1, 0),
    "getcpu": (309, 0, 0, 0),
}


def _calls(run: Callable[..., str], pod: Pod, **security: Any) -> dict[str, str]:
    """Errno names of the calls above from a container with the node's own Python, 0 for success."""
    for name in ("lib", "lib64"):
        if not (pod.rootfs / name).exists():
            (pod.rootfs / name).symlink_to(f"usr/{name}")
    config = {
        "command": ["/usr/bin/python3", "-I", "-c", _CALLS, json.dumps(_X86_64)],
        "mounts": [{"container_path": "/usr", "host_path": "/usr", "readonly": True}],
        **_security(seccomp={"profile_type": "RuntimeDefault"}, **security),
    }
    printed = run("", config)
    assert "thread" in printed, printed
    found = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))
    return {name: errno.errorcode.get(number, "0") for name, number in found.items()}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are of x86_64")
def test_the_default_profile_refuses_what_it_must_with_the_errno_that_programs_expect(
    run: Callable[..., str], pod: Pod
) -> None:
    assert _calls(run, pod) == {
        "clone in a new user namespace": "EPERM",
        "clone in a new network namespace": "EPERM",
        "clone3": "ENOSYS",
        "unshare": "EPERM",
        "io_uring_setup": "EPERM",
        "keyctl": "EPERM",
        "bpf": "EPERM",
        "mount": "EPERM",
        "socket AF_ALG": "EAFNOSUPPORT",
        "socket AF_VSOCK": "EAFNOSUPPORT",
        "socket AF_INET": "0",
        "socket AF_UNIX": "0",
        "a call of the future": "ENOSYS",
        "personality of today": "0",
        "ioprio_get": "0",
        "getcpu": "0",
    }


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are of x86_64")
def test_the_default_profile_opens_with_sys_admin_but_never_io_uring(run: Callable[..., str], pod: Pod) -> None:
    found = _calls(run, pod, capabilities={"add_capabilities": ["SYS_ADMIN"]})
    assert found["unshare"] == found["clone in a new network namespace"] == "0"
    assert found["clone3"] == "EINVAL"
    assert found["io_uring_setup"] == found["keyctl"] == "EPERM"


def test_a_profile_of_the_node_is_applied(run: Callable[..., str], pod: Pod) -> None:
    profile = pod.directory / "profile.json"
    profile.write_text(json.dumps({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chmod", "fchmodat", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }))  # fmt: skip
    config = _security(seccomp={"profile_type": "Localhost", "localhost_ref": str(profile)})
    printed = run("mkdir /tmp/x; cat /proc/self/status", config)
    assert "Operation not permitted" in printed
    assert _status(printed)["Seccomp"] == "2"
