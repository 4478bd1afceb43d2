"""Seccomp profiles: our RuntimeDefault, made for the capabilities of the container, and Localhost ones from the node.

A call that the profile does not know answers ENOSYS, so that a libc of tomorrow falls back as on an old kernel; one
that it knows and refuses answers EPERM.
"""

from __future__ import annotations

import errno
import functools
import os
from typing import Any

import msgspec

from core.errdefs import InvalidArgument
from core.files.read import read_limited
from core.oci.syscalls import ALWAYS, NEVER, WITH_CAPABILITY

MAX_PROFILE = 1 << 20
"""Bytes of a Localhost profile; real ones are some 20 KiB."""
_NAMESPACES = 0x7E020000
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}: making one hands root's half of the kernel to anybody."""
_AF_VSOCK = 40
"""Reaches the hypervisor past every network namespace."""
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, both with UNAME26, and the question which one is set."""
_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}


@functools.lru_cache(maxsize=64)
def runtime_default(capabilities: frozenset[str]) -> msgspec.Raw:
    """The OCI linux.seccomp document for a container with `capabilities`, encoded once per set."""
    allowed = {name for group in ALWAYS for name in group.split()}
    for capability in capabilities:
        allowed |= set(WITH_CAPABILITY.get(capability, "").split())
    known = {name for group in WITH_CAPABILITY.values() for name in group.split()} | set(NEVER.split())
    rules = [_allow(sorted(allowed)), *_conditional(capabilities)]
    refused = known - allowed - {"clone", "clone3"}
    rules.append(_errno(sorted(refused), errno.EPERM))
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": _ARCHITECTURES.get(os.uname().machine, []),
        "syscalls": rules,
    }
    return msgspec.Raw(msgspec.json.encode(document))


def _conditional(capabilities: frozenset[str]) -> list[dict[str, Any]]:
    rules = [_allow(["personality"], _argument(0, value, "SCMP_CMP_EQ")) for value in _PERSONALITIES]
    rules.append(_allow(["socket"], _argument(0, _AF_VSOCK, "SCMP_CMP_NE")))
    if "CAP_SYS_ADMIN" not in capabilities:
        rules.append(_allow(["clone"], _argument(0, _NAMESPACES, "SCMP_CMP_MASKED_EQ", 0)))
        rules.append(_errno(["clone3"], errno.ENOSYS))  # its flags lie in memory, where seccomp cannot see them
    return rules


def _allow(names: list[str], *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": list(arguments)}


def _errno(names: list[str], number: int) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": []}


def _argument(index: int, value: int, operator: str, value_two: int | None = None) -> dict[str, Any]:
    argument = {"index": index, "value": value, "op": operator}
    return argument if value_two is None else {**argument, "valueTwo": value_two}


def localhost(path: str) -> msgspec.Raw:
    """The profile in the node's file `path`, as it is. Never falls back to none (hazards CVE-2023-2431).

    Raises InvalidArgument: no path, not absolute, missing, not a regular file, not a JSON object.
    """
    if not path or not os.path.isabs(path) or ".." in path.split("/"):
        raise InvalidArgument(f"seccomp profile {path[:160]!r}: want an absolute path without '..'")
    try:
        document = msgspec.json.decode(read_limited(path, MAX_PROFILE))
    except (OSError, msgspec.DecodeError) as exc:
        raise InvalidArgument(f"seccomp profile {path}: {exc}") from exc
    if not isinstance(document, dict) or "defaultAction" not in document:
        raise InvalidArgument(f"seccomp profile {path}: not a profile: it has no defaultAction")
    return msgspec.Raw(msgspec.json.encode(document))
