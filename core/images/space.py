"""What images take on disk, from what is known of each blob and layer: no file is looked at."""

from __future__ import annotations

import contextlib

from core.content.content import ContentStore
from core.errdefs import NotFound
from core.snapshots.snapshotter import Kind, Usage
from core.snapshots.snapshotters import Snapshotters


def space_of_images(content: ContentStore, snapshotters: Snapshotters) -> Usage:
    """Blobs, and layers as they were counted when they were committed. Writable layers are somebody else's."""
    sizes = [blob.size for blob in content.walk()]
    layers = []
    for snapshots in snapshotters.named.values():
        for snapshot in snapshots.walk():
            if snapshot.kind is Kind.COMMITTED:
                with contextlib.suppress(NotFound):  # removed meanwhile
                    layers.append(snapshots.usage(snapshot.name))
    return Usage(
        size=sum(sizes) + sum(layer.size for layer in layers),
        inodes=len(sizes) + sum(layer.inodes for layer in layers),
    )
