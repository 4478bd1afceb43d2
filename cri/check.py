"""`crispd check`: what this node has, what it lacks, and what that costs."""

from __future__ import annotations

import enum
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from core.linux.cgroup import booted_with_systemd
from core.oci import apparmor
from cri.config.config import Config, Runtime

_CONTROLLERS = {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}
_RUNC = re.compile(r"runc version (\d+)\.(\d+)\.(\d+)")
_MENDED = {(1, 2): 8, (1, 3): 3}
_WANT = "runc 1.2.8, 1.3.3 or 1.4"


class Level(enum.Enum):
    OK = "ok"
    LIMITED = "limited"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    level: Level
    subject: str
    text: str


def examine(config: Config) -> list[Finding]:
    """All findings, without changing anything; `FATAL` ones keep pods from running."""
    return [
        *_privileges(),
        *_filesystems(),
        *_cgroups(),
        *_runtimes(config),
        *_network(config),
        *_security(),
        *_user_namespaces(),
    ]


def _privileges() -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield Finding(level=Level.FATAL, subject="root", text="crispd must run as root")
    with open("/proc/self/status", encoding="ascii") as status:
        effective = int(next(line for line in status if line.startswith("CapEff:")).split()[1], 16)
    if effective & 1 << 24:  # CAP_SYS_RESOURCE, capability.h
        yield Finding(level=Level.OK, subject="CAP_SYS_RESOURCE", text="present")
    else:
        yield Finding(
            level=Level.LIMITED,
            subject="CAP_SYS_RESOURCE",
            text="missing: oom_score_adj cannot be lowered; values below the daemon's own are raised to it",
        )


def _filesystems() -> Iterator[Finding]:
    with open("/proc/filesystems", encoding="ascii") as known:
        names = {line.split()[-1] for line in known}
    if "overlay" in names:
        yield Finding(level=Level.OK, subject="overlayfs", text="available")
    elif _is_module("overlay"):
        yield Finding(level=Level.OK, subject="overlayfs", text="as a module, loaded when first used")
    else:
        yield Finding(level=Level.FATAL, subject="overlayfs", text="missing: no container can have a root")


def _is_module(name: str) -> bool:
    try:
        with open(f"/lib/modules/{os.uname().release}/modules.dep", encoding="utf-8") as file:
            return any(f"/{name}.ko" in line.partition(":")[0] for line in file)
    except FileNotFoundError:
        return False


def _cgroups() -> Iterator[Finding]:
    try:
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as file:
            missing = _CONTROLLERS - set(file.read().split())
    except FileNotFoundError:
        pass
    else:
        text = f"v2 without {', '.join(sorted(missing))}: such limits are refused" if missing else "v2"
        yield Finding(level=Level.LIMITED if missing else Level.OK, subject="cgroups", text=text)
        return
    yield Finding(level=Level.LIMITED, subject="cgroups", text="v1: no PSI, no memory.high, no cgroup.kill")
    try:
        with open("/sys/fs/cgroup/unified/cgroup.controllers", encoding="ascii") as file:
            left = file.read().split()
    except FileNotFoundError:
        return
    if left:
        yield Finding(
            level=Level.LIMITED,
            subject="cgroups",
            text=f"hybrid with {', '.join(left)} on v2: crun refuses it; mount these controllers under v1",
        )


def _runtimes(config: Config) -> Iterator[Finding]:
    usable = False
    for name, runtime in config.handlers().items():
        version = _shim_of(runtime) if runtime.shim else _version_of(runtime.binary)
        usable = usable or bool(version)
        missing = runtime.shim or runtime.binary
        text = version or f"{missing} is missing or does not run: pods of handler {name!r} cannot start"
        if has_known_holes(version):
            text += f": images can reach the node (CVE-2025-31133), unless the distribution mended it; want {_WANT}"
        level = Level.LIMITED if not version or has_known_holes(version) else Level.OK
        yield Finding(level=level, subject=f"runtime {name}", text=text)
        yield from _driver(name, runtime)
    if not usable:
        yield Finding(level=Level.FATAL, subject="OCI runtime", text="none found: install crun or runc")


def has_known_holes(version: str) -> bool:
    """Whether `version`, what runc says of itself, is before those that mend CVE-2025-31133, -52565 and -52881."""
    if found := _RUNC.match(version):
        major, minor, patch = map(int, found.groups())
        return (major, minor) < min(_MENDED) or patch < _MENDED.get((major, minor), 0)
    return False


def _driver(name: str, runtime: Runtime) -> Iterator[Finding]:
    subject = f"runtime {name}"
    if runtime.systemd_cgroup and not booted_with_systemd():
        text = "systemd_cgroup = true, but systemd does not run here: pods of this handler cannot start"
        yield Finding(level=Level.LIMITED, subject=subject, text=text)
    elif booted_with_systemd() and not runtime.systemd_cgroup:
        text = "systemd_cgroup = false, while systemd manages this node's cgroups: two managers, set it to true"
        yield Finding(level=Level.LIMITED, subject=subject, text=text)


def _shim_of(runtime: Runtime) -> str:
    """Shims have no common way to tell their version."""
    return runtime.shim if os.access(runtime.shim, os.X_OK) else ""


def _version_of(binary: str) -> str:
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else ""


def _network(config: Config) -> Iterator[Finding]:
    if config.cni.builtin:
        yield Finding(level=Level.OK, subject="network", text="built-in bridge where conf_dir has no configuration")
        return
    found = os.path.isdir(config.cni.conf_dir) and any(
        name.endswith((".conflist", ".conf", ".json")) for name in os.listdir(config.cni.conf_dir)
    )
    text = "configured" if found else f"no CNI configuration in {config.cni.conf_dir}: only hostNetwork pods can run"
    yield Finding(level=Level.OK if found else Level.LIMITED, subject="network", text=text)
    if not any(os.path.isdir(path) for path in config.cni.bin_dirs):
        where = ", ".join(config.cni.bin_dirs)
        yield Finding(level=Level.LIMITED, subject="CNI plugins", text=f"none of {where} exists")


def _security() -> Iterator[Finding]:
    yield _apparmor()
    text = "not in this kernel: labels that pods ask for are left out, with a warning"
    if os.path.exists("/sys/fs/selinux/enforce"):
        text = "processes get the labels that pods ask for, files and volumes none: let it be permissive"
    yield Finding(level=Level.LIMITED, subject="SELinux", text=text)


def _apparmor() -> Finding:
    level, text = Level.OK, "enabled; crispd loads the default profile"
    if not apparmor.enabled():
        level, text = Level.LIMITED, "not in this kernel: containers that ask for a profile are refused"
    elif not apparmor.parser():
        level, text = Level.LIMITED, "no apparmor_parser, so no default profile: install the package apparmor"
    return Finding(level=level, subject="AppArmor", text=text)


def _user_namespaces() -> Iterator[Finding]:
    try:
        with open("/proc/sys/user/max_user_namespaces", encoding="ascii") as file:
            most = int(file.read())
    except FileNotFoundError:
        most = 0
    text = f"{most} at most" if most else "none: the kernel has none, or the sysctl user.max_user_namespaces is 0"
    yield Finding(level=Level.OK if most else Level.LIMITED, subject="user namespaces", text=text)
