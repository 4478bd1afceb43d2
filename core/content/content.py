"""Content: immutable bytes named by their digest.

An *ingest* is a blob that is being written, named by a ref that its writer chose; it survives a restart, so a transfer
can go on where it stopped. `Writer.commit` turns it into a *blob*, whole and synced, or not at all. All calls block;
the daemon makes them from its filesystem executor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from core.types import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    digest: Digest
    size: int
    """Bytes."""
    created_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestStatus:
    ref: str
    offset: int
    """Bytes written so far."""
    updated_at: float


class Writer(Protocol):
    """One open ingest; exactly one writer per ref at a time."""

    @property
    def offset(self) -> int:
        """Bytes already in the ingest: where the transfer goes on."""

    @property
    def path(self) -> str:
        """The file that grows: a reader may follow it up to `offset`. Gone after commit or abort."""

    @property
    def digest(self) -> Digest:
        """sha256 of what is in the ingest."""

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises ResourceExhausted when the disk is full (the ingest keeps what was written)."""

    def commit(self, size: int, digest: Digest) -> None:
        """Publish the ingest as blob `digest`; the writer is closed.

        Success when the blob exists already. Raises DataLoss when size (if >= 0) or digest differ; the ingest is then
        removed, since going on from poison never ends well.
        """

    def close(self) -> None:
        """Let go of the ref and keep the ingest for a later writer. Idempotent."""

    def abort(self) -> None:
        """Let go of the ref and remove the ingest. Idempotent."""


class ContentStore(Protocol):
    def info(self, digest: Digest) -> BlobInfo:
        """Raises NotFound."""

    def path(self, digest: Digest) -> str:
        """The blob's file, to be opened read-only. Raises NotFound."""

    def read(self, digest: Digest, *, limit: int) -> bytes:
        """The whole blob. Raises NotFound, ResourceExhausted when it is larger than `limit` bytes."""

    def writer(self, ref: str) -> Writer:
        """Open ingest `ref`, new or where it stopped. Raises Unavailable when another writer has it."""

    def delete(self, digest: Digest) -> None:
        """Remove a blob. Raises NotFound."""

    def walk(self) -> Iterator[BlobInfo]:
        """All blobs, in no order; blobs that come or go meanwhile may be missed."""

    def ingests(self) -> Iterator[IngestStatus]:
        """All ingests, open or left behind."""

    def remove_ingest(self, ref: str) -> None:
        """Forget an ingest that no writer has. Raises NotFound, Unavailable."""
