"""Images: names for manifests, and what was read from them.

An image's id is the digest of its config, everywhere (CRI: Image.id, PullImageResponse.image_ref); an artifact's, which
has no config of ours (core.images.artifacts), that of its manifest. Its names are full
references: `docker.io/library/busybox:1.36` (a tag) or `docker.io/library/busybox@sha256:…` (a repo digest). A name
belongs to one image at a time; an image may have none left and still be in use by a container.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from core.types import Descriptor, Digest, Labels, no_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    id: Digest
    """Digest of the config blob, or of an artifact's manifest."""
    target: Descriptor
    """The manifest of our platform."""
    names: tuple[str, ...]
    layers: tuple[Descriptor, ...]
    """Of an artifact the config first, then its files."""
    chain_ids: tuple[str, ...]
    """Snapshot names, one per layer, the last one is the image's root; () for an image without layers."""
    config: bytes
    """The config blob as received, `{}` of an artifact."""
    size: int
    """Bytes of manifest, config and compressed layers, as containerd reports it."""
    created_at: float
    annotations: Labels = field(default_factory=no_labels)
    """Of the manifest."""
    pinned: bool = False
    artifact_type: str = ""
    """What kind of artifact it is, "" for an image."""

    @property
    def chain_id(self) -> str:
        """Name of the committed snapshot with the image's files, "" when it has no layers."""
        return self.chain_ids[-1] if self.chain_ids else ""


class ImageStore(Protocol):
    """Reads are answered from memory and never block; writes are durable when they return, and block."""

    def get(self, ref: str) -> Image:
        """By full name, id, id without `sha256:`, or an unambiguous prefix of it of 4 or more hex digits.

        Raises NotFound, InvalidArgument when a prefix fits several images.
        """

    def list(self) -> tuple[Image, ...]: ...

    def put(self, image: Image, names: Iterable[str]) -> Image:
        """Record `image` and move `names` to it from whichever image had them; return the record as stored."""

    def remove(self, image_id: Digest) -> Image:
        """Forget the image and all its names; return what was forgotten. Raises NotFound."""

    def remove_name(self, name: str) -> None:
        """Forget a full name, and with its last one the image. Raises NotFound."""
