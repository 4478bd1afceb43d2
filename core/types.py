"""Values that every floor shares; the words are those of OCI image-spec and containerd."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NewType

from core.errdefs import InvalidArgument

Labels = Mapping[str, str]
EMPTY: Labels = MappingProxyType({})


def no_labels() -> Labels:
    """The default of a field: dataclasses take no unhashable value for one."""
    return EMPTY


Digest = NewType("Digest", str)
"""`algorithm:hex`, validated by `digest()`: safe as a file name once split at the colon."""

_DIGEST_HEX = {"sha256": 64, "sha512": 128}  # OCI image-spec, descriptor.md, Registered algorithms
_HEX = re.compile(r"[0-9a-f]+")
_IDENTIFIER = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
MAX_IDENTIFIER = 76  # characters; containerd pkg/identifiers: fits a file name, a cgroup and a systemd unit


def digest(value: str) -> Digest:
    """Check `value` and return it as a Digest. Raises InvalidArgument (hazards CVE-2024-3727)."""
    algorithm, _, encoded = value.partition(":")
    if len(encoded) != _DIGEST_HEX.get(algorithm) or not _HEX.fullmatch(encoded):
        raise InvalidArgument(f"digest {value[:160]!r}: want sha256 or sha512 and lower-case hex")
    return Digest(value)


def identifier(value: str, what: str) -> str:
    """Check that `value` can name a directory, a cgroup and a socket. Raises InvalidArgument naming `what`."""
    if len(value) > MAX_IDENTIFIER or not _IDENTIFIER.fullmatch(value):
        raise InvalidArgument(f"{what} {value[:160]!r}: want at most {MAX_IDENTIFIER} of A-Z a-z 0-9, joined by . _ -")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """OCI image-spec, image-index.md, platform."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """OCI image-spec, descriptor.md: names bytes by digest and size (bytes)."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: Labels = field(default_factory=no_labels)
    artifact_type: str = ""
    platform: Platform | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount(2) to perform: `options` holds flags by their fstab names and the filesystem's own data options."""

    type: str
    source: str
    target: str = ""
    options: tuple[str, ...] = ()
