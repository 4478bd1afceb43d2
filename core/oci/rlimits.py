"""Resource limits of a process, as people write them (man 2 getrlimit, OCI runtime-spec config.md, rlimits)."""

from __future__ import annotations

import re
import resource

from core.errdefs import InvalidArgument
from core.oci.runtime import Rlimit

_LIMIT = re.compile(r"(?P<name>[a-z]+)=(?P<soft>-1|unlimited|[0-9]{1,19})(?::(?P<hard>-1|unlimited|[0-9]{1,19}))?")
_INFINITY = 2**64 - 1  # RLIM_INFINITY, asm-generic/resource.h


def parse_rlimit(text: str) -> Rlimit:
    """`nofile=1024:4096`, or `core=0` for both; -1 and `unlimited` are none. Raises InvalidArgument."""
    match = _LIMIT.fullmatch(text)
    if not match or not hasattr(resource, f"RLIMIT_{match['name'].upper()}"):
        raise InvalidArgument(f"ulimit {text[:64]!r}: want one like nofile=1024:4096, soft before hard")
    soft = _number(match["soft"])
    hard = _number(match["hard"]) if match["hard"] else soft
    if soft > hard:
        raise InvalidArgument(f"ulimit {text[:64]!r}: the soft limit is above the hard one")
    return Rlimit(type=f"RLIMIT_{match['name'].upper()}", soft=soft, hard=hard)


def _number(text: str) -> int:
    return _INFINITY if text in ("-1", "unlimited") else int(text)
