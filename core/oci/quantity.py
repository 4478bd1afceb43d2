"""Bytes, as Kubernetes writes them (apimachinery, resource.Quantity)."""

from __future__ import annotations

import re

from core.errdefs import InvalidArgument

_QUANTITY = re.compile(r"([0-9]{1,15})([KMGT]i|[kMGT])?")
_UNITS = {None: 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def parse_bytes(text: str) -> int:
    """`64Mi` or `65536`. Raises InvalidArgument."""
    match = _QUANTITY.fullmatch(text)
    if not match:
        raise InvalidArgument(f"size {text[:64]!r}: want a number of bytes, or of Ki, Mi, Gi: 64Mi")
    return int(match[1]) * _UNITS[match[2]]
