"""Artifacts: manifests whose config is no container's, such as models and charts. They are files to mount, not to run.

An artifact's id is the digest of its manifest. Its blobs become the files of one committed snapshot, so as a volume and
for collection it is what an image is. A file is called what the annotation `org.opencontainers.image.title` says (OCI
image-spec, annotations.md; ORAS), or else by its blob's hex digest. What a crash leaves is what a layer's does.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping

from core.content.content import ContentStore
from core.diff.refusals import refusal
from core.errdefs import AlreadyExists, InvalidArgument
from core.images.blocking import Blocking
from core.images.images import Image
from core.images.layers import Layers
from core.images.progress import LayerState, Phase
from core.images.source import Source
from core.images.unpacker import first_error
from core.snapshots.copy import copy_data
from core.snapshots.snapshotter import Snapshotter
from core.types import Descriptor, Digest

TITLE = "org.opencontainers.image.title"
MAX_DEPTH = 32  # components of a title: nobody's files are deeper
MAX_COMPONENT = 255  # bytes; limits.h, NAME_MAX
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"  # OCI image-spec, manifest.md: of a config or layer that is none


def chain_id(manifest: Digest) -> str:
    """The snapshot with the artifact's files. No layer's: theirs are hashes of other texts."""
    return f"sha256:{hashlib.sha256(f'artifact {manifest}'.encode()).hexdigest()}"


def titles(layers: Iterable[Descriptor]) -> Mapping[str, Digest]:
    """Paths of files, and their blobs. Raises InvalidArgument for one that leads elsewhere, or is taken."""
    found: dict[str, Digest] = {}
    for layer in layers:
        if layer.media_type == EMPTY_TYPE:
            continue
        path = layer.annotations.get(TITLE) or layer.digest.partition(":")[2]
        parts = path.split("/")
        if len(parts) > MAX_DEPTH or not all(map(_is_component, parts)):
            raise InvalidArgument(f"artifact: title {path[:160]!r} is no path of a file in a directory")
        if path in found and found[path] != layer.digest:
            raise InvalidArgument(f"artifact: two files have the title {path[:160]!r}")
        found[path] = layer.digest
    return found


def _is_component(part: str) -> bool:
    return part not in ("", ".", "..") and "\0" not in part and len(os.fsencode(part)) <= MAX_COMPONENT


class Artifacts:
    def __init__(self, content: ContentStore, snapshots: Snapshotter, layers: Layers, blocking: Blocking) -> None:
        self._content = content
        self._snapshots = snapshots
        self._layers = layers
        self._blocking = blocking

    async def make(self, source: Source, artifact: Image, slots: asyncio.Semaphore, states: list[LayerState]) -> bool:
        """Make the snapshot of `artifact` if it is missing; whether it was. `states` follows what happens.

        Raises InvalidArgument (titles), DataLoss, ResourceExhausted, Unavailable (disk), and what the registry raises.
        """
        files = titles(artifact.layers[1:])
        states.extend(map(LayerState, artifact.layers))
        try:
            async with asyncio.TaskGroup() as group:
                for state, blob in zip(states, artifact.layers):
                    group.create_task(self._fetch(source, blob, slots, state))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        if self._layers.is_unpacked(artifact.chain_id):
            return False
        async with self._layers.extraction(artifact.chain_id, "") as key:
            await self._blocking(self._fill, self._snapshots.upper(key), files)
            with contextlib.suppress(AlreadyExists):  # an equal pull was faster
                await self._blocking(self._snapshots.commit, artifact.chain_id, key)
        return True

    async def _fetch(self, source: Source, blob: Descriptor, slots: asyncio.Semaphore, state: LayerState) -> None:
        async with slots:
            await self._layers.fetch(source, blob, state)
        state.phase = Phase.DONE

    def _fill(self, directory: str, files: Mapping[str, Digest]) -> None:
        """Nobody else has the directory, and only files and directories are made in it: there is no link to follow."""
        for path, blob in files.items():
            target = os.path.join(directory, path)
            try:
                os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
                with open(self._content.path(blob), "rb", 0) as data, open(target, "xb", 0) as file:
                    copy_data(data.fileno(), file.fileno())
                    os.fchmod(file.fileno(), 0o644)
            except OSError as exc:  # of titles: one is a directory of another one
                raise refusal(exc, f"artifact: title {path[:160]!r}: {exc.strerror}") from exc
