"""Our RuntimeDefault seccomp profile, made for the capabilities of a container (OCI runtime-spec, linux.seccomp).

A call that the profile does not know answers ENOSYS, so that a libc of tomorrow falls back as on an old kernel; one
that it knows and refuses answers EPERM, as the kernel does without the privilege.
"""

from __future__ import annotations

import errno
import functools
import os
from typing import Any

import msgspec

from core.oci.syscalls import ALWAYS, NEVER, WITH_CAPABILITY

_Rule = dict[str, Any]

_NAMESPACES = {
    "CLONE_NEWNS": 0x00020000,
    "CLONE_NEWCGROUP": 0x02000000,
    "CLONE_NEWUTS": 0x04000000,
    "CLONE_NEWIPC": 0x08000000,
    "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000,
}
"""Flags of clone(2): a new user namespace hands root's half of the kernel to anybody."""
_AF_ALG = 38
"""The kernel's own crypto, of little use to anyone, and a source of root exploits."""
_AF_VSOCK = 40
"""Reaches the hypervisor past every network namespace."""
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, both with UNAME26, and the question which one is set."""
_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "ppc64le": ["SCMP_ARCH_PPC64LE"],
    "riscv64": ["SCMP_ARCH_RISCV64"],
    "s390x": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
}
"""By uname's machine, with the older ones whose programs it runs."""


@functools.lru_cache(maxsize=64)
def runtime_default(capabilities: frozenset[str], machine: str = os.uname().machine) -> msgspec.Raw:
    """The linux.seccomp document for a container with `capabilities`, encoded once for each set of them."""
    by_capability = {name: frozenset(calls.split()) for name, calls in WITH_CAPABILITY.items()}
    allowed = {call for group in ALWAYS for call in group.split()}
    allowed = allowed.union(*(by_capability.get(name, ()) for name in capabilities))
    refused = frozenset(NEVER.split()).union(*by_capability.values()) - allowed
    rules = [_allow(sorted(allowed)), *_sockets(), *_personalities()]
    if not allowed.issuperset(_CLONES):
        rules += _threads_only(machine)
    rules.append(_refuse(sorted(refused - _CLONES), errno.EPERM))
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": _ARCHITECTURES.get(machine, []),
        "syscalls": rules,
    }
    return msgspec.Raw(msgspec.json.encode(document))


_CLONES = frozenset({"clone", "clone3"})


def _threads_only(machine: str) -> list[_Rule]:
    """clone without new namespaces. clone3 is left to ENOSYS: its flags lie in memory, where seccomp cannot see them,
    and every libc then takes clone."""
    flags = 1 if machine == "s390x" else 0  # man 2 clone, C library/kernel differences
    none = _argument(flags, sum(_NAMESPACES.values()), "SCMP_CMP_MASKED_EQ", 0)
    each = (_argument(flags, bit, "SCMP_CMP_MASKED_EQ", bit) for bit in _NAMESPACES.values())
    return [_allow(["clone"], none), *(_refuse(["clone"], errno.EPERM, one) for one in each)]


def _sockets() -> list[_Rule]:
    """All families but two, which answer as in a kernel without them. Ranges, since two "not equal" rules are an OR."""
    others = (("SCMP_CMP_LT", _AF_ALG), ("SCMP_CMP_EQ", _AF_ALG + 1), ("SCMP_CMP_GT", _AF_VSOCK))
    allowed = (_argument(0, family, operator) for operator, family in others)
    refused = (_argument(0, family, "SCMP_CMP_EQ") for family in (_AF_ALG, _AF_VSOCK))
    return [
        *(_allow(["socket"], one) for one in allowed),
        *(_refuse(["socket"], errno.EAFNOSUPPORT, one) for one in refused),
    ]


def _personalities() -> list[_Rule]:
    return [_allow(["personality"], _argument(0, value, "SCMP_CMP_EQ")) for value in _PERSONALITIES]


def _allow(names: list[str], *arguments: _Rule) -> _Rule:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": list(arguments)}


def _refuse(names: list[str], number: int, *arguments: _Rule) -> _Rule:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": list(arguments)}


def _argument(index: int, value: int, operator: str, value_two: int = 0) -> _Rule:
    return {"index": index, "value": value, "valueTwo": value_two, "op": operator}
