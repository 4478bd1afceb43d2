"""What a snapshot's directory is called and what its `meta.json` says."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import asdict, dataclass

from core.files.atomic import write_atomic
from core.snapshots.snapshotter import Kind, SnapshotInfo, Usage

META = "meta.json"
_ID_BYTES = 10  # 16 characters of base32: a mount names hundreds of these directories


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    name: str
    kind: Kind
    parent: str
    created_at: float
    usage: Usage | None = None
    """Of committed snapshots."""
    unsynced_boot: str = ""
    """The boot in which a committed snapshot was written, until it is known to be on disk."""

    @property
    def info(self) -> SnapshotInfo:
        return SnapshotInfo(name=self.name, kind=self.kind, parent=self.parent, created_at=self.created_at)


def snapshot_id(name: str) -> str:
    """The directory of snapshot `name`: short, and safe whatever the name is."""
    return base64.b32encode(hashlib.sha256(name.encode()).digest()[:_ID_BYTES]).decode().lower()


def write_meta(directory: str, meta: Meta) -> None:
    """Make `meta` the truth about `directory`. Not durable by itself: Snapshotter.sync is, for all at once."""
    write_atomic(os.path.join(directory, META), json.dumps(asdict(meta)).encode(), durable=False)


def read_meta(directory: str) -> Meta:
    """Raises OSError, ValueError (also for a name whose directory this is not), KeyError, TypeError."""
    with open(os.path.join(directory, META), "rb") as file:
        fields = json.load(file)
    usage = fields.pop("usage")
    meta = Meta(**fields | {"kind": Kind(fields["kind"]), "usage": Usage(**usage) if usage else None})
    if snapshot_id(meta.name) != os.path.basename(directory):
        raise ValueError(f"it says that it is snapshot {meta.name!r}, which has another directory")
    return meta
