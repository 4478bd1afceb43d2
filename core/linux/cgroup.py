"""Where the control groups of this node are: version 1, version 2, or both at once.

    unified   /sys/fs/cgroup                 all controllers
    hybrid    /sys/fs/cgroup/<controllers>   + /sys/fs/cgroup/unified, with no or few controllers
    legacy    /sys/fs/cgroup/<controllers>
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from core.linux.pidfd import open_pidfd

_CHUNK = 8 << 10  # bytes: more than almost every control file has, and too few for malloc(3) to map pages for it


class CgroupMode(enum.StrEnum):
    LEGACY = "legacy"
    HYBRID = "hybrid"
    UNIFIED = "unified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    mount_point: str
    root: str
    """Path of the group that is mounted there; "/" outside containers."""

    def directory(self, group: str) -> str:
        """Directory of `group`, a path as /proc/<pid>/cgroup shows it."""
        inside = group.removeprefix(self.root) if self.root != "/" else group
        return os.path.normpath(f"{self.mount_point}/{inside}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupLayout:
    """Read once at start: `CgroupLayout.read()`."""

    controllers: Mapping[str, Hierarchy]
    """Version 1 controllers by name; named hierarchies as `name=systemd`."""
    unified: Hierarchy | None
    unified_controllers: frozenset[str]

    @classmethod
    def read(cls, mountinfo: str = "/proc/self/mountinfo") -> CgroupLayout:
        """Raises OSError. Of a controller mounted twice the first place counts."""
        controllers: dict[str, Hierarchy] = {}
        unified = None
        with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields, _, rest = line.partition(" - ")
                kind, _, options = rest.split()
                _, _, _, root, mount_point = fields.split()[:5]
                hierarchy = Hierarchy(mount_point=mount_point, root=root)
                if kind == "cgroup2":
                    unified = unified or hierarchy
                elif kind == "cgroup":
                    for name in options.split(","):
                        controllers.setdefault(name, hierarchy)
        available = read_file(f"{unified.mount_point}/cgroup.controllers").split() if unified else []
        for option in ("rw", "ro"):
            controllers.pop(option, None)
        return cls(controllers=controllers, unified=unified, unified_controllers=frozenset(available))

    @property
    def mode(self) -> CgroupMode:
        if not self.controllers:
            return CgroupMode.UNIFIED
        return CgroupMode.HYBRID if self.unified else CgroupMode.LEGACY

    def directory(self, controller: str, group: str) -> str:
        """Directory of `group` in the hierarchy of `controller`. Raises KeyError when no hierarchy has it."""
        hierarchy = self.controllers.get(controller)
        if hierarchy is None and self.unified and controller in self.unified_controllers:
            hierarchy = self.unified
        if hierarchy is None:
            raise KeyError(controller)
        return hierarchy.directory(group)

    def directories(self, group: str) -> set[str]:
        """Directories of `group` in all hierarchies, made or not."""
        hierarchies = [*self.controllers.values(), *([self.unified] if self.unified else [])]
        return {hierarchy.directory(group) for hierarchy in hierarchies}

    def of_process(self, pid: int | str = "self") -> Mapping[str, str]:
        """Directory of the group of `pid` by controller; "" stands for the unified hierarchy.

        Raises FileNotFoundError or ProcessLookupError when the process is gone.
        """
        directories: dict[str, str] = {}
        for line in read_file(f"/proc/{pid}/cgroup").splitlines():
            _, names, group = line.split(":", 2)
            if not names and self.unified:
                directory = self.unified.directory(group)
                directories |= dict.fromkeys(("", *self.unified_controllers), directory)
            for name in filter(self.controllers.__contains__, names.split(",")):
                directories[name] = self.controllers[name].directory(group)
        return directories


def read_file(path: str) -> str:
    """A control file, without the cost of a Python file object. The kernel gives long ones by pages."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while chunk := os.read(fd, _CHUNK):
            content += chunk
        return content.decode()
    finally:
        os.close(fd)


def write_file(path: str, value: str) -> None:
    """A control file in one write(2), as the kernel wants it; the file is never made."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def members(directory: str) -> frozenset[int]:
    """The processes in the group; none when it is gone. Those of its subgroups do not count."""
    try:
        return frozenset(map(int, read_file(f"{directory}/cgroup.procs").split()))
    except OSError:  # ENODEV: it is just being removed
        return frozenset()


def kill(directory: str) -> None:
    """SIGKILL every process that is in the group now; success when it is gone."""
    try:
        write_file(f"{directory}/cgroup.kill", "1")
    except FileNotFoundError:  # version 1, or Linux before 5.14
        for pid in members(directory):
            with contextlib.suppress(ProcessLookupError):
                _kill_member(directory, pid)


def thaw(directory: str) -> None:
    """Let the processes in the group run on, if somebody has frozen it; success when it is gone."""
    for name, running in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
        with contextlib.suppress(FileNotFoundError):
            write_file(f"{directory}/{name}", running)


def _kill_member(directory: str, pid: int) -> None:
    pidfd = open_pidfd(pid)
    try:
        if pid in members(directory):  # still: what is looked at is what is killed
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def booted_with_systemd() -> bool:
    """Whether systemd manages this node, and its cgroups: sd_booted(3)."""
    return os.path.isdir("/run/systemd/system")
