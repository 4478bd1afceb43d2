"""Localhost seccomp profiles: files of the node, which its administrator wrote and the kubelet names."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec

from core.errdefs import CrispError, InvalidArgument
from core.files.read import read_limited

MAX_PROFILE = 1 << 20
"""Bytes; real ones are some 20 KiB."""

_Action = Literal[
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
]
_Operator = Literal[
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
]


class _Argument(msgspec.Struct, rename="camel"):
    index: Annotated[int, msgspec.Meta(ge=0, le=5)]
    value: int
    op: _Operator
    value_two: int = 0


class _Rule(msgspec.Struct, rename="camel"):
    names: Annotated[list[str], msgspec.Meta(min_length=1)]
    action: _Action
    errno_ret: int | None = None
    args: list[_Argument] | None = None


class _Profile(msgspec.Struct, rename="camel"):
    """OCI runtime-spec, config-linux.md, Seccomp; fields beyond these are the OCI runtime's business."""

    default_action: _Action
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    flags: list[str] | None = None
    syscalls: list[_Rule] | None = None


def localhost(path: str) -> msgspec.Raw:
    """The profile in the file `path`, byte for byte, once it has been found to be one.

    Never falls back to no profile (CVE-2023-2431). Raises InvalidArgument: no path, not absolute, missing, not a
    regular file, too large, not a profile.
    """
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise InvalidArgument(f"seccomp profile {path[:160]!r}: want an absolute path without '..'")
    try:
        raw = read_limited(os.path.normpath(path), MAX_PROFILE)
        msgspec.json.decode(raw, type=_Profile)
    except (OSError, ValueError, RecursionError, CrispError) as exc:  # msgspec's errors are ValueErrors
        raise InvalidArgument(f"seccomp profile {path[:160]}: {exc}") from exc
    return msgspec.Raw(raw)
