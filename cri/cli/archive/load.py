"""From an archive to images: every file becomes a blob as it comes by, and then the documents say what is an image.

    blobs/sha256/<hex>, index.json      OCI layout; docker's since 25 have manifest.json, too
    <id>.json, <id>/layer.tar, manifest.json      docker save before that
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import msgspec

from cri.cli.archive.blobs import Store
from cri.cli.archive.documents import (
    DOCKER_MANIFEST,
    FULL_NAME,
    INDEX,
    LAYOUT,
    REF_NAME,
    Descriptor,
    DockerImage,
    Index,
    Manifest,
    decode,
    decode_docker,
)
from cri.cli.archive.entries import BadArchive, Entry, entries

_BLOBS = "blobs/"
_MAX_LINKS = 8  # on the way to one file
_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
_LAYER_TYPES = {b"\x1f\x8b": "application/vnd.docker.image.rootfs.diff.tar.gzip"}
_PLAIN_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An image of the archive."""

    name: str
    target: Descriptor


def load(file: IO[bytes], store: Store, name: str = "") -> list[Named]:
    """Store what is in the archive; the images in it, under their own names or, of the only one, under `name`.

    Raises BadArchive, CallFailed.
    """
    archive = _Archive()
    for entry in entries(file):
        archive.take(entry, store)
    found = list(archive.images(store))
    if not found:
        raise BadArchive("no image is in it")
    if name:
        if len({target.digest for _, target in found}) != 1:
            raise BadArchive(f"one name for {len(found)} images: import without --name, and tag them")
        return [Named(name=name, target=found[0][1])]
    if not all(own for own, _ in found):
        raise BadArchive("it does not say what its image is called: give --name")
    return [Named(name=own, target=target) for own, target in found]


@dataclass(slots=True)
class _Archive:
    """What went by."""

    documents: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, tuple[Descriptor, bytes]] = field(default_factory=dict)
    """By name: what they are, and their first bytes."""
    links: dict[str, str] = field(default_factory=dict)

    def take(self, entry: Entry, store: Store) -> None:
        if entry.link:
            self.links[entry.name] = entry.link
        elif entry.name in (INDEX, DOCKER_MANIFEST):
            self.documents[entry.name] = entry.document()
        elif entry.name.startswith(_BLOBS):
            self.files[entry.name] = store.put(entry, entry.size, _digest(entry.name))
        elif entry.name != LAYOUT:
            self.files[entry.name] = store.put(entry, entry.size)

    def images(self, store: Store) -> Iterator[tuple[str, Descriptor]]:
        """Names, "" for none, and manifests or indexes."""
        if INDEX in self.documents:
            for descriptor in decode(self.documents[INDEX], Index, INDEX).manifests:
                yield _own_name(descriptor.annotations or {}), descriptor
        elif DOCKER_MANIFEST in self.documents:
            for image in decode_docker(self.documents[DOCKER_MANIFEST]):
                target = self._manifest(image, store)
                for tag in image.repo_tags or ("",):
                    yield tag, target
        else:
            raise BadArchive(f"neither {INDEX} nor {DOCKER_MANIFEST} is in it: no archive of images")

    def _manifest(self, image: DockerImage, store: Store) -> Descriptor:
        """docker save has no manifest: this is the one that a registry would be given."""
        config, _ = self._file(image.config)
        manifest = Manifest(
            media_type=_MANIFEST_TYPE,
            config=msgspec.structs.replace(config, media_type=_CONFIG_TYPE),
            layers=tuple(map(self._layer, image.layers)),
        )
        stored = store.put_bytes(msgspec.json.encode(manifest))
        return msgspec.structs.replace(stored, media_type=_MANIFEST_TYPE)

    def _layer(self, name: str) -> Descriptor:
        layer, head = self._file(name)
        return msgspec.structs.replace(layer, media_type=_LAYER_TYPES.get(head[:2], _PLAIN_LAYER))

    def _file(self, name: str) -> tuple[Descriptor, bytes]:
        at = posixpath.normpath(name)
        for _ in range(_MAX_LINKS):
            if at in self.files:
                return self.files[at]
            at = self.links.get(at, "")
        raise BadArchive(f"{name[:160]} is named and not there")


def _digest(name: str) -> str:
    """Of blobs/<algorithm>/<hex>."""
    return name.removeprefix(_BLOBS).replace("/", ":", 1)


def _own_name(annotations: dict[str, str]) -> str:
    """The full name, if it is one: a mere tag says nothing of the repository."""
    name = annotations.get(FULL_NAME) or annotations.get(REF_NAME, "")
    return name if FULL_NAME in annotations or "/" in name else ""
