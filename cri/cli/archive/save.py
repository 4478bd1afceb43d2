"""From images to an archive: an OCI layout, with docker's manifest.json beside it which `docker load` reads."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
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
)
from cri.cli.archive.entries import MAX_DOCUMENT, BadArchive
from cri.cli.archive.load import Named

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def save(file: IO[bytes], store: Store, images: Sequence[Named]) -> None:
    """Write the archive to `file`. Raises BadArchive (a manifest that makes no sense), CallFailed."""
    raw = {image.target.digest: _document(store, image.target) for image in images}
    manifests = {digest: decode(data, Manifest, digest) for digest, data in raw.items()}
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, LAYOUT, [_LAYOUT], len(_LAYOUT))
        for name, document in _documents(images, manifests):
            _add(tar, name, [document], len(document))
        written: set[str] = set()
        for image in images:
            manifest = manifests[image.target.digest]
            for blob in (image.target, manifest.config, *manifest.layers):
                if blob.digest not in written:
                    written.add(blob.digest)
                    _add(tar, _path(blob), store.get(blob), blob.size)


def _documents(images: Sequence[Named], manifests: dict[str, Manifest]) -> Iterator[tuple[str, bytes]]:
    index = Index(manifests=tuple(map(_named, images)))
    yield INDEX, msgspec.json.encode(index)
    docker = []
    for digest, manifest in manifests.items():
        tags = tuple(image.name for image in images if image.target.digest == digest and "@" not in image.name)
        layers = tuple(map(_path, manifest.layers))
        docker.append(DockerImage(config=_path(manifest.config), repo_tags=tags, layers=layers))
    yield DOCKER_MANIFEST, msgspec.json.encode(docker)


def _named(image: Named) -> Descriptor:
    if "@" in image.name:
        return image.target
    tag = image.name.rpartition(":")[2]
    return msgspec.structs.replace(image.target, annotations={FULL_NAME: image.name, REF_NAME: tag})


def _document(store: Store, descriptor: Descriptor) -> bytes:
    if descriptor.size > MAX_DOCUMENT:
        raise BadArchive(f"manifest {descriptor.digest}: {descriptor.size} bytes, more than {MAX_DOCUMENT}")
    return b"".join(store.get(descriptor))


def _path(blob: Descriptor) -> str:
    algorithm, _, encoded = blob.digest.partition(":")
    return f"blobs/{algorithm}/{encoded}"


def _add(tar: tarfile.TarFile, name: str, parts: Iterable[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o444
    tar.addfile(info, io.BufferedReader(_Parts(iter(parts))))


class _Parts(io.RawIOBase):
    """A file of pieces that come one after the other."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # what BufferedReader gives
        while not self._rest:
            try:
                self._rest = memoryview(next(self._parts))
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
