"""The content store in a directory."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator

from core.content.content import BlobInfo, ContentStore, IngestStatus
from core.content.ingest import LocalWriter
from core.errdefs import NotFound, ResourceExhausted
from core.files.dirs import make_dirs, remove_tree
from core.types import Digest, digest

_ALGORITHMS = ("sha256", "sha512")  # those that core.types.digest lets pass
_DATA, _REF = "data", "ref"


class LocalContent:
    """Blobs and ingests below `root`:

        blobs/sha256/<hex>                whole, synced, never written again
        ingest/<sha256 of the ref>/ref    the ref itself
                                   data   what was written so far

    The filesystem is the only truth, so there is nothing that could disagree with it. What a crash leaves:

        while writing           ref and data: the next writer of the ref goes on behind the last byte
        before ref is written   a directory without ref: removed at the next start
        after the rename of
        data to blobs/          a directory without data: an empty ingest, which the next writer or the sweep removes

    After a power cut an ingest may hold less than was written, or zeroes: its digest then fails, and it starts over.
    """

    def __init__(self, root: str) -> None:
        self._blobs = os.path.join(root, "blobs")
        self._ingests = os.path.join(root, "ingest")
        for path in (root, self._ingests, *(os.path.join(self._blobs, name) for name in _ALGORITHMS)):
            make_dirs(path, 0o700)
        self._remove_nameless()

    def info(self, digest: Digest) -> BlobInfo:
        try:
            status = os.stat(self._blob_path(digest))
        except FileNotFoundError as exc:
            raise NotFound(f"content {digest}") from exc
        return BlobInfo(digest=digest, size=status.st_size, created_at=status.st_mtime)

    def path(self, digest: Digest) -> str:
        self.info(digest)
        return self._blob_path(digest)

    def read(self, digest: Digest, *, limit: int) -> bytes:
        try:
            with open(self._blob_path(digest), "rb") as blob:
                data = blob.read(limit + 1)
        except FileNotFoundError as exc:
            raise NotFound(f"content {digest}") from exc
        if len(data) > limit:
            raise ResourceExhausted(f"content {digest}: more than {limit} bytes")
        return data

    def writer(self, ref: str) -> LocalWriter:
        return LocalWriter(self._ingest_path(ref), ref, self._blob_path)

    def delete(self, digest: Digest) -> None:
        try:
            os.unlink(self._blob_path(digest))
        except FileNotFoundError as exc:
            raise NotFound(f"content {digest}") from exc

    def walk(self) -> Iterator[BlobInfo]:
        for algorithm in _ALGORITHMS:
            for encoded in os.listdir(os.path.join(self._blobs, algorithm)):
                with contextlib.suppress(NotFound):
                    yield self.info(digest(f"{algorithm}:{encoded}"))

    def ingests(self) -> Iterator[IngestStatus]:
        for name in os.listdir(self._ingests):
            directory = os.path.join(self._ingests, name)
            with contextlib.suppress(FileNotFoundError):
                with open(os.path.join(directory, _REF), encoding="utf-8") as file:
                    ref = file.read()
                yield _status(directory, ref)

    def remove_ingest(self, ref: str) -> None:
        path = self._ingest_path(ref)
        if not os.path.exists(path):
            raise NotFound(f"ingest {ref!r}")
        self.writer(ref).abort()

    def _blob_path(self, digest: Digest) -> str:
        algorithm, _, encoded = digest.partition(":")
        return os.path.join(self._blobs, algorithm, encoded)

    def _ingest_path(self, ref: str) -> str:
        return os.path.join(self._ingests, hashlib.sha256(ref.encode()).hexdigest())

    def _remove_nameless(self) -> None:
        for name in os.listdir(self._ingests):
            directory = os.path.join(self._ingests, name)
            if not os.path.exists(os.path.join(directory, _REF)):
                remove_tree(directory)


def _status(directory: str, ref: str) -> IngestStatus:
    try:
        status = os.stat(os.path.join(directory, _DATA))
    except FileNotFoundError:  # committed, but for its directory
        return IngestStatus(ref=ref, offset=0, updated_at=os.stat(directory).st_mtime)
    return IngestStatus(ref=ref, offset=status.st_size, updated_at=status.st_mtime)


_fits: type[ContentStore] = LocalContent
