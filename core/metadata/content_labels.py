"""Labels that clients give to blobs, and what they ask to keep by them (containerd docs/garbage-collection.md).

    containerd.io/gc.root                              the blob stays
    containerd.io/gc.ref.content[.…] = digest          while this blob stays, so does that one
    containerd.io/gc.ref.snapshot.<name> = key         … and that snapshot
    containerd.io/gc.bref.content[.…] = digest         while that blob stays, so does this one
    containerd.io/gc.bref.image|container[.…] = name   … and while there is that image or container
    containerd.io/gc.bref.snapshot.<name> = key        … or snapshot
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from core.errdefs import InvalidArgument
from core.images.blocking import Blocking
from core.log import get_logger
from core.metadata.leases import Leases
from core.metadata.records import Record, RecordStore
from core.types import Digest, Labels

log = get_logger(__name__)

MAX_LABEL = 4096  # bytes of a key and its value, as containerd has it
MAX_LABELS = 1024  # of one blob: a manifest's, which names up to 500 layers
_KIND = "content-labels"
_ROOT = "containerd.io/gc.root"
_REFERENCES = ("containerd.io/gc.ref.content", "containerd.io/gc.ref.snapshot")
_REFERENCES_BACK = tuple(f"containerd.io/gc.bref.{kind}" for kind in ("content", "image", "container", "snapshot"))


class ContentLabels:
    """Use it inside one running loop. A crash leaves labels as they were recorded."""

    def __init__(self, records: RecordStore, blocking: Blocking, leases: Leases) -> None:
        self._records = records
        self._leases = leases
        self._blocking = blocking
        self._labels: dict[str, dict[str, str]] = {}
        """By digest."""

    async def load(self) -> None:
        """Know what was recorded by an earlier daemon. What makes no sense is set aside."""
        for record in await self._blocking(self._records.load, _KIND):
            try:
                self._labels[record.id] = msgspec.json.decode(record.body, type=dict[str, str])
            except msgspec.MsgspecError as exc:
                log.error("labels make no sense", blob=record.id, reason=exc)
                await self._blocking(self._records.set_aside, _KIND, record.id)

    def get(self, blob: Digest) -> Labels:
        return self._labels.get(blob, {})

    async def put(self, blob: Digest, labels: Labels) -> None:
        """Replace all labels of `blob`. Raises InvalidArgument (too long, too many)."""
        if len(labels) > MAX_LABELS:
            raise InvalidArgument(f"content {blob}: {len(labels)} labels, at most {MAX_LABELS}")
        for key, value in labels.items():
            if len(key.encode()) + len(value.encode()) > MAX_LABEL:
                raise InvalidArgument(f"content {blob}: label {key[:80]!r} has more than {MAX_LABEL} bytes")
        if not labels:
            await self.forget([blob])
            return
        self._labels[blob] = dict(labels)
        await self._blocking(self._records.put, Record(kind=_KIND, id=blob, body=msgspec.json.encode(dict(labels))))

    async def forget(self, blobs: Iterable[str]) -> None:
        """Those that are gone."""
        known = [blob for blob in blobs if self._labels.pop(blob, None) is not None]
        if known:
            await self._blocking(self._records.delete, *((_KIND, blob) for blob in known))

    def kept(self, roots: AbstractSet[str], held: AbstractSet[str]) -> set[str]:
        """What stays since `roots` do - names of blobs, snapshots, containers and images - with these and what is a
        root itself. What is `held` stays anyway, and so does what it references, unless a flat lease holds it."""
        references = self._references()
        own = (blob for blob, labels in self._labels.items() if labels.get(_ROOT))
        kept, pending = set[str](), [*roots, *own, *(held - self._leases.flat())]
        while pending:
            name = pending.pop()
            if name not in kept:
                kept.add(name)
                pending += references.get(name, ())
        return kept

    def _references(self) -> Mapping[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for blob, labels in self._labels.items():
            for key, value in labels.items():
                if _is_of(key, _REFERENCES):
                    found[blob].append(value)
                elif _is_of(key, _REFERENCES_BACK):
                    found[value].append(blob)
        return found


def _is_of(key: str, kinds: tuple[str, ...]) -> bool:
    """`gc.ref.content`, and also `gc.ref.content.l.0`."""
    return key.startswith(kinds) and any(key == kind or key.startswith(f"{kind}.") for kind in kinds)
