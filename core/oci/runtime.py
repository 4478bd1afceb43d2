"""The parts of an OCI runtime-spec document (config.json) that Crisp writes, under the field names of the spec."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import msgspec

VERSION = "1.0.2"
"""ociVersion, the lowest that carries what is written here: crun 1.8 (Debian 12) refuses newer ones."""


class User(TypedDict):
    uid: int
    gid: int
    additionalGids: list[int]


class Capabilities(TypedDict):
    bounding: list[str]
    effective: list[str]
    permitted: list[str]
    inheritable: list[str]
    ambient: list[str]


class Rlimit(TypedDict):
    type: str
    soft: int
    hard: int


class Process(TypedDict):
    terminal: bool
    user: User
    args: list[str]
    env: list[str]
    cwd: str
    capabilities: Capabilities
    noNewPrivileges: bool
    oomScoreAdj: int
    rlimits: NotRequired[list[Rlimit]]
    ioPriority: NotRequired[dict[str, Any]]
    scheduler: NotRequired[dict[str, Any]]
    apparmorProfile: NotRequired[str]
    selinuxLabel: NotRequired[str]


class Root(TypedDict):
    path: str
    readonly: bool


class IdMapping(TypedDict):
    containerID: int
    hostID: int
    size: int


class Mount(TypedDict):
    destination: str
    type: str
    source: str
    options: list[str]


class Namespace(TypedDict):
    type: str
    path: NotRequired[str]
    """Absent: a new one."""


class Device(TypedDict):
    path: str
    type: str
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class DeviceRule(TypedDict):
    """A rule of the device cgroup; absent fields match everything."""

    allow: bool
    access: str
    type: NotRequired[str]
    major: NotRequired[int]
    minor: NotRequired[int]


class Cpu(TypedDict, total=False):
    shares: int
    quota: int
    period: int
    realtimeRuntime: int
    realtimePeriod: int
    cpus: str
    mems: str


class Memory(TypedDict, total=False):
    limit: int
    reservation: int
    swap: int
    """Memory and swap together, as in cgroup v1; the OCI runtime translates for v2."""
    kernel: int
    kernelTCP: int
    swappiness: int
    disableOOMKiller: bool
    useHierarchy: bool


class Pids(TypedDict):
    limit: int


class HugepageLimit(TypedDict):
    pageSize: str
    limit: int


class Resources(TypedDict, total=False):
    cpu: Cpu
    memory: Memory
    hugepageLimits: list[HugepageLimit]
    pids: Pids
    blockIO: dict[str, Any]
    unified: dict[str, str]
    devices: list[DeviceRule]


class Linux(TypedDict):
    cgroupsPath: str
    namespaces: list[Namespace]
    resources: Resources
    devices: list[Device]
    rootfsPropagation: str
    maskedPaths: list[str]
    readonlyPaths: list[str]
    uidMappings: NotRequired[list[IdMapping]]
    gidMappings: NotRequired[list[IdMapping]]
    seccomp: NotRequired[msgspec.Raw]
    sysctl: NotRequired[dict[str, str]]
    intelRdt: NotRequired[dict[str, Any]]


class Hook(TypedDict):
    path: str
    args: list[str]
    env: list[str]
    timeout: NotRequired[int]
    """Seconds."""


HOOKS = frozenset({"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"})
"""When hooks run (config.md, POSIX-platform Hooks)."""


class Spec(TypedDict):
    ociVersion: str
    process: Process
    root: Root
    hostname: NotRequired[str]
    mounts: list[Mount]
    annotations: dict[str, str]
    linux: Linux
    hooks: NotRequired[dict[str, list[Hook]]]
