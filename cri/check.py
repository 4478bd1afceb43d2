"""`crispd check`: what this node has, what it lacks, and what that costs."""

from __future__ import annotations

import enum
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from cri.config import Config


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
    if "overlay" in names or shutil.which("modprobe"):
        yield Finding(level=Level.OK, subject="overlayfs", text="available" if "overlay" in names else "as a module")
    else:
        yield Finding(level=Level.FATAL, subject="overlayfs", text="missing: no container can have a root")


def _cgroups() -> Iterator[Finding]:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        yield Finding(level=Level.OK, subject="cgroups", text="v2")
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
        version = _version_of(runtime.binary)
        usable = usable or bool(version)
        text = version or f"{runtime.binary} is missing or does not run: pods of handler {name!r} cannot start"
        yield Finding(level=Level.OK if version else Level.LIMITED, subject=f"runtime {name}", text=text)
    if not usable:
        yield Finding(level=Level.FATAL, subject="OCI runtime", text="none found: install crun or runc")


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
    for subject, path, cost in (
        ("AppArmor", "/sys/module/apparmor/parameters/enabled", "containers that ask for a profile are refused"),
        ("SELinux", "/sys/fs/selinux", "labels that pods ask for do nothing"),
    ):
        present = os.path.exists(path)
        text = "present" if present else f"not in this kernel: {cost}"
        yield Finding(level=Level.OK if present else Level.LIMITED, subject=subject, text=text)
