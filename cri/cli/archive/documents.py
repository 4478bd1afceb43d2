"""The documents that say what is in an archive: OCI layout (OCI image-spec, image-layout.md) and docker save.

What they name is checked where it is used: a digest where it is written, a reference where an image is made.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from cri.cli.archive.entries import BadArchive

INDEX, DOCKER_MANIFEST, LAYOUT = "index.json", "manifest.json", "oci-layout"
FULL_NAME = "io.containerd.image.name"  # an annotation of containerd's and docker's archives
REF_NAME = "org.opencontainers.image.ref.name"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MAX_IMAGES = 1000  # in one archive

_Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Document = TypeVar("_Document", bound=msgspec.Struct)


class Descriptor(msgspec.Struct, kw_only=True, frozen=True, rename="camel", omit_defaults=True):
    media_type: str
    digest: str
    size: _Size
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    schema_version: int = 2
    media_type: str = OCI_INDEX
    manifests: Annotated[tuple[Descriptor, ...], msgspec.Meta(max_length=MAX_IMAGES)]


class Manifest(msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    schema_version: int = 2
    media_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]


class DockerImage(msgspec.Struct, kw_only=True, frozen=True, rename="pascal"):
    """An element of docker's manifest.json: names of entries."""

    config: str
    repo_tags: tuple[str, ...] | None = None
    layers: tuple[str, ...]


def decode(raw: bytes, kind: type[_Document], name: str) -> _Document:
    """Raises BadArchive."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (ValueError, RecursionError) as exc:
        raise BadArchive(f"{name}: {str(exc)[:300]}") from exc


def decode_docker(raw: bytes) -> list[DockerImage]:
    """Raises BadArchive."""
    try:
        return msgspec.json.decode(raw, type=list[DockerImage])
    except (ValueError, RecursionError) as exc:
        raise BadArchive(f"{DOCKER_MANIFEST}: {str(exc)[:300]}") from exc
