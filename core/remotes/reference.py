"""Image references: what a user may write, and its one full form (distribution's reference grammar).

    busybox                          docker.io/library/busybox:latest
    localhost:5000/a/b:1             localhost:5000/a/b:1
    quay.io/a/b:1@sha256:<64 hex>    quay.io/a/b@sha256:<64 hex>      a digest makes the tag meaningless
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from core.errdefs import InvalidArgument
from core.types import Digest, digest

MAX_NAME = 255  # characters of host and path; distribution reference.go, NameTotalLengthMax
MAX_REFERENCE = 1024  # characters; more than the longest name, tag (128) and sha512 digest (135) together
DEFAULT_HOST, DEFAULT_TAG = "docker.io", "latest"
_OFFICIAL = "library/"  # docker.io's namespace for names without a slash
_OLD_DEFAULT_HOST = "index.docker.io"

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HOST = re.compile(
    r"(?P<name>\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    host: str
    """Registry as the user named it, with port if given: `docker.io`, `[::1]:5000`."""
    path: str
    """Repository in the registry: `library/busybox`."""
    tag: str = ""
    digest: Digest | None = None
    """One of tag and digest is set."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidArgument, whatever `text` is."""
        try:
            return cls._parse(text)
        except InvalidArgument as exc:
            raise InvalidArgument(f"image reference {text[:160]!r}: {exc}") from None

    @classmethod
    def _parse(cls, text: str) -> Self:
        if not 0 < len(text) <= MAX_REFERENCE:
            raise InvalidArgument(f"want 1 to {MAX_REFERENCE} characters")
        rest, has_digest, encoded = text.partition("@")
        if _IMAGE_ID.fullmatch(text.removeprefix("sha256:")):
            raise InvalidArgument("this is an image id, which cannot be pulled")
        rest, tag = _split_tag(rest)
        host, path = _split_host(rest)
        _check_path(path)
        if len(host) + 1 + len(path) > MAX_NAME:
            raise InvalidArgument(f"the name is longer than {MAX_NAME} characters")
        if has_digest:
            return cls(host=host, path=path, digest=digest(encoded))
        return cls(host=host, path=path, tag=DEFAULT_TAG if tag is None else tag)

    @property
    def name(self) -> str:
        """Host and path, without tag and digest."""
        return f"{self.host}/{self.path}"

    @property
    def object(self) -> str:
        """What is asked for in the repository: tag or digest."""
        return self.digest or self.tag

    def with_digest(self, target: Digest) -> str:
        """The full name of `target` in this repository."""
        return f"{self.name}@{target}"

    def __str__(self) -> str:
        """The full form; parsing it gives an equal value."""
        return self.with_digest(self.digest) if self.digest else f"{self.name}:{self.tag}"


def _split_tag(text: str) -> tuple[str, str | None]:
    name, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:  # a host's port
        return text, None
    if not _TAG.fullmatch(tag):
        raise InvalidArgument(f"tag {tag[:160]!r}: want 1 to 128 of A-Z a-z 0-9 _ . - and no . or - in front")
    return name, tag


def _split_host(text: str) -> tuple[str, str]:
    """Host and path. What stands before the first slash is a host if it could not be a path component."""
    first, slash, rest = text.partition("/")
    if not slash or not (set(first) & set(".:[") or first == "localhost" or first != first.lower()):
        first, rest = DEFAULT_HOST, text
    _check_host(first)
    host = DEFAULT_HOST if first == _OLD_DEFAULT_HOST else first
    if host == DEFAULT_HOST and "/" not in rest:
        return host, _OFFICIAL + rest
    return host, rest


def _check_host(host: str) -> None:
    match = _HOST.fullmatch(host)
    if not match or int(match["port"] or 1) not in range(1, 1 << 16):
        raise InvalidArgument(f"host {host[:160]!r}: want name[:port], address[:port] or [IPv6 address][:port]")
    if match["name"].startswith("["):
        try:
            ipaddress.IPv6Address(match["name"][1:-1])
        except ValueError as exc:
            raise InvalidArgument(f"host {host[:160]!r}: no IPv6 address") from exc


def _check_path(path: str) -> None:
    for component in path.split("/"):
        if not _COMPONENT.fullmatch(component):
            raise InvalidArgument(
                f"path component {component[:160]!r}: want a-z 0-9, no upper case, joined by . _ __ or dashes"
            )
