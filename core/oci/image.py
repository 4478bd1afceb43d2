"""Image documents as registries serve them: index, manifest and config (OCI image-spec, Docker schema 2).

What they say is as untrusted as any byte from a registry: parsing has limits, refuses what two parsers could read
differently (CVE-2021-41190, duplicate keys), and raises InvalidArgument for everything that is not a document. A digest
is always of the bytes as received, so documents keep them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Never, TypeVar

import msgspec

from core.errdefs import InvalidArgument, Unimplemented
from core.types import EMPTY, Descriptor, Digest, Platform, digest

MAX_DOCUMENT = 4 * 1048 * 1048  # bytes of an index, a manifest or a config; the peers' MaxManifestSize
MAX_LAYERS = 500  # fs/overlayfs/params.h, OVL_MAX_STACK: more could not be mounted
MAX_SIZE = (1 << 63) - 1  # bytes; OCI image-spec, descriptor.md: size is an int64

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG)
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_UNTYPED = ("", "application/json", "application/octet-stream", "text/plain")  # what careless servers send

_Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
_Document = TypeVar("_Document", bound=msgspec.Struct)


class _Platform(msgspec.Struct, frozen=True, kw_only=True):
    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")


class _Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    media_type: str
    digest: str
    size: _Size
    urls: tuple[str, ...] | None = None
    annotations: dict[str, str] | None = None
    artifact_type: str = ""
    platform: _Platform | None = None

    def value(self) -> Descriptor:
        """Raises InvalidArgument (digest)."""
        return Descriptor(
            media_type=self.media_type,
            digest=digest(self.digest),
            size=self.size,
            urls=self.urls or (),
            annotations=self.annotations or EMPTY,
            artifact_type=self.artifact_type,
            platform=Platform(**msgspec.structs.asdict(self.platform)) if self.platform else None,
        )


class _Kind(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The fields that tell an index from a manifest."""

    schema_version: int = 0
    media_type: str = ""
    manifests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    config: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    fs_layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Index(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    schema_version: Literal[2]
    manifests: tuple[_Descriptor, ...]


class _Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    schema_version: Literal[2]
    config: _Descriptor
    layers: tuple[_Descriptor, ...]
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """Manifests to choose from, by platform; some may be indexes themselves."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    raw: bytes


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    """The lowest first."""
    annotations: Mapping[str, str]
    raw: bytes


class ContainerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the image wants to be run (OCI image-spec, config.md, Properties): wishes, not policy."""

    user: str = msgspec.field(default="", name="User")
    env: tuple[str, ...] | None = msgspec.field(default=None, name="Env")
    entrypoint: tuple[str, ...] | None = msgspec.field(default=None, name="Entrypoint")
    cmd: tuple[str, ...] | None = msgspec.field(default=None, name="Cmd")
    volumes: dict[str, Any] | None = msgspec.field(default=None, name="Volumes")
    working_dir: str = msgspec.field(default="", name="WorkingDir")
    labels: dict[str, str] | None = msgspec.field(default=None, name="Labels")
    stop_signal: str = msgspec.field(default="", name="StopSignal")


class _RootFs(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["layers"]
    diff_ids: tuple[str, ...]


class _ImageConfig(msgspec.Struct, frozen=True, kw_only=True):
    architecture: str
    os: str
    rootfs: _RootFs
    variant: str = ""
    config: ContainerConfig | None = None


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True):
    os: str
    architecture: str
    variant: str
    diff_ids: tuple[Digest, ...]
    """Digests of the uncompressed layers, the lowest first."""
    config: ContainerConfig
    raw: bytes


def parse_manifest(raw: bytes, media_type: str) -> Index | Manifest:
    """The document that was announced as `media_type` (Content-Type or descriptor).

    Raises InvalidArgument, Unimplemented (schema 1). CPU-bound: large documents take tens of milliseconds.
    """
    _screen(raw, "manifest")
    kind = _decode(raw, _Kind, "manifest")
    announced = media_type.partition(";")[0].strip()
    actual = _media_type(kind, "" if announced in _UNTYPED else announced)
    if actual in INDEX_TYPES:
        index = _decode(raw, _Index, "index")
        return Index(media_type=actual, manifests=_values(index.manifests), raw=raw)
    manifest = _decode(raw, _Manifest, "manifest")
    if len(manifest.layers) > MAX_LAYERS:
        raise InvalidArgument(f"manifest: {len(manifest.layers)} layers, and no more than {MAX_LAYERS} can be mounted")
    return Manifest(
        media_type=actual,
        config=manifest.config.value(),
        layers=_values(manifest.layers),
        annotations=manifest.annotations or {},
        raw=raw,
    )


def parse_config(raw: bytes) -> ImageConfig:
    """Raises InvalidArgument."""
    _screen(raw, "image config")
    document = _decode(raw, _ImageConfig, "image config")
    return ImageConfig(
        os=document.os,
        architecture=document.architecture,
        variant=document.variant,
        diff_ids=tuple(map(digest, document.rootfs.diff_ids)),
        config=document.config or ContainerConfig(),
        raw=raw,
    )


def chain_ids(diff_ids: tuple[Digest, ...]) -> tuple[str, ...]:
    """What names a layer together with all below it (OCI image-spec, config.md, Layer ChainID)."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(_sha256(f"{chain[-1]} {diff_id}") if chain else diff_id)
    return tuple(chain)


def _sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _values(descriptors: tuple[_Descriptor, ...]) -> tuple[Descriptor, ...]:
    return tuple(descriptor.value() for descriptor in descriptors)


def _media_type(kind: _Kind, announced: str) -> str:
    """What the document is, by its own word, the sender's, and its fields: these must not disagree (CVE-2021-41190)."""
    is_index = kind.manifests is not msgspec.UNSET
    is_manifest = kind.layers is not msgspec.UNSET or kind.config is not msgspec.UNSET
    media_type = kind.media_type or announced
    if kind.schema_version == 1 or media_type.startswith(_SCHEMA_1) or kind.fs_layers is not msgspec.UNSET:
        raise Unimplemented("manifest: Docker schema 1 is no longer read: push the image again with a current tool")
    if is_index == is_manifest:
        raise InvalidArgument("manifest: want either `manifests`, or `config` and `layers`")
    if kind.media_type and announced and kind.media_type != announced:
        raise InvalidArgument(f"manifest says {kind.media_type[:160]!r} but was announced as {announced[:160]!r}")
    media_type = media_type or (OCI_INDEX if is_index else OCI_MANIFEST)
    if media_type not in (INDEX_TYPES if is_index else MANIFEST_TYPES):
        raise InvalidArgument(f"manifest: media type {media_type[:160]!r} is none of an {_noun(is_index)}")
    return media_type


def _noun(is_index: bool) -> str:
    return "index" if is_index else "image manifest"


def _screen(raw: bytes, noun: str) -> None:
    """Raises InvalidArgument for what is too large, not JSON to the letter (RFC 8259), or ambiguous."""
    if len(raw) > MAX_DOCUMENT:
        raise InvalidArgument(f"{noun}: {len(raw)} bytes, more than {MAX_DOCUMENT}")
    try:
        json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"{noun}: {str(exc)[:300]}") from exc


def _decode(raw: bytes, document: type[_Document], noun: str) -> _Document:
    try:
        return msgspec.json.decode(raw, type=document)
    except (ValueError, RecursionError) as exc:  # msgspec's errors are ValueErrors
        raise InvalidArgument(f"{noun}: {str(exc)[:300]}") from exc


def _unique(pairs: list[tuple[str, object]]) -> None:
    """Raises ValueError for an object with one key twice, of which each parser takes another."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key appears twice in one object")


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")
