"""Pulling: from a reference to an image that containers can stand on.

    resolve ─▶ index ─▶ manifest ─▶ config ─▶ layers (core.images.layers) ─▶ sync ─▶ image record, durable

Nothing refers to what was pulled until the record is there, so an image is whole or absent. While a pull runs it holds
what it needs (core.images.holds). What a crash leaves at each step is unreferenced and found again by its digest: the
next pull goes on from there, or the next collection removes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from core.content.content import ContentStore
from core.errdefs import InvalidArgument, NotFound
from core.failpoint import failpoint
from core.images.artifacts import Artifacts, chain_id
from core.images.blocking import Blocking
from core.images.documents import DocumentReader, Documents
from core.images.flights import Flights
from core.images.gc import names_of
from core.images.holds import Hold, Holds
from core.images.images import Image, ImageStore
from core.images.layers import Layers, Stack
from core.images.pace import watched
from core.images.progress import LayerProgress, PullProgress
from core.images.source import Nowhere, Source
from core.images.verification import ImageVerifier, Policy
from core.oci.image import chain_ids
from core.remotes.auth import Credentials
from core.remotes.reference import Reference
from core.remotes.registry import Registry, Resolved
from core.snapshots.snapshotter import Snapshotter
from core.steps import step
from core.telemetry import SILENT, Telemetry, timed
from core.types import Descriptor, Platform
from core.zygote.zygote import Zygote

MAX_LAYERS_AT_ONCE = 3  # of one pull, as the peers; more does not make one registry faster


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    reference: Reference
    credentials: Credentials | None
    """Part of the key: who may not read an image must not share in another's pull of it."""


class Puller:
    def __init__(
        self,
        *,
        registry: Registry,
        images: ImageStore,
        content: ContentStore,
        snapshots: Snapshotter,
        zygote: Zygote,
        holds: Holds,
        blocking: Blocking,
        platform: Platform,
        clock: Callable[[], float],
        layers_at_once: int = MAX_LAYERS_AT_ONCE,
        pinned: Iterable[str] = (),
        verifier: ImageVerifier | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        """`clock` tells the seconds since the epoch; `pinned` are patterns (fnmatch) of the full
        names of images that the kubelet shall keep."""
        self._registry = registry
        self._images = images
        self._content = content
        self._snapshots = snapshots
        self._holds = holds
        self._blocking = blocking
        self._platform = platform
        self._clock = clock
        self._layers_at_once = layers_at_once
        self._pinned = tuple(pinned)
        self._verifier = verifier or ImageVerifier(Policy())
        self._telemetry = telemetry
        self._layers = Layers(content, snapshots, zygote, holds, blocking)
        self._artifacts = Artifacts(content, snapshots, self._layers, blocking)
        self._flights: Flights[_Key, PullProgress, Image] = Flights()

    async def pull(self, name: str, credentials: Credentials | None = None) -> Image:
        """Make the image that `name` means now the one that is here under that name, whole and durable.

        Equal pulls share the work. When the last caller is cancelled the work is, and leaves only what the next pull
        can use. Raises InvalidArgument (name, image), NotFound, Unauthenticated, PermissionDenied, Unavailable (all of
        them name every host), Refused, DataLoss (a digest), ResourceExhausted, Unimplemented.
        """
        key = _Key(reference=Reference.parse(name), credentials=credentials)
        async with self._flights.join(key, PullProgress, lambda progress: self._pull(key, progress)) as flight:
            return await flight.wait()

    async def adopt(self, name: str, target: Descriptor) -> Image:
        """Make the image that is in the content store as `target`, an index or a manifest, the one under `name`.

        As by a pull it is verified, unpacked and durable then. Raises NotFound (a blob that it needs, platform),
        InvalidArgument (name, image, a digest in `name` that is not the target's), Refused, DataLoss, Unimplemented.
        """
        reference = Reference.parse(name)
        if reference.digest not in (None, target.digest):
            raise InvalidArgument(f"image {name!r} cannot be {target.digest}")
        await self._verifier.check(reference, target)
        resolved = Resolved(descriptor=target, raw=None)
        return await self._take(reference, Nowhere(), resolved, (str(reference),), PullProgress())

    def progress(self, name: str) -> tuple[LayerProgress, ...]:
        """Of a pull of `name` that is running; () when there is none, or before it has read the manifest."""
        reference = Reference.parse(name)
        running = (progress for key, progress in self._flights.items() if key.reference == reference)
        return next((progress.layers() for progress in running), ())

    def running(self) -> dict[str, tuple[LayerProgress, ...]]:
        """All pulls that run, by the image's full name."""
        return {str(key.reference): progress.layers() for key, progress in self._flights.items()}

    async def _pull(self, key: _Key, progress: PullProgress) -> Image:
        with timed(self._telemetry.pull):
            async with watched(str(key.reference), progress):
                return await self._pull_now(key, progress)

    async def _pull_now(self, key: _Key, progress: PullProgress) -> Image:
        with step("resolve"):
            repository = await self._registry.repository(key.reference, key.credentials)
            progress.host_of = repository.host_of
            resolved = await repository.resolve()
        with step("verify"):
            await self._verifier.check(key.reference, resolved.descriptor)
        failpoint("pull.resolved")
        return await self._take(key.reference, repository, resolved, _names(key.reference, resolved), progress)

    async def _take(
        self, reference: Reference, source: Source, resolved: Resolved, names: tuple[str, ...], progress: PullProgress
    ) -> Image:
        """Unpack what is not unpacked, and record the image under `names`."""
        async with self._holds.hold() as hold:
            await hold.add(resolved.descriptor.digest)
            image = await self._known(reference, resolved, hold)
            if image is None:
                image = await self._fetch(source, resolved, hold, progress)
            image = replace(image, pinned=image.pinned or self._is_pinned(names))
            with step("record"):
                stored = await self._blocking(self._images.put, image, names)
            failpoint("pull.recorded")
            return stored

    def _is_pinned(self, names: Iterable[str]) -> bool:
        return any(fnmatchcase(name, pattern) for name in names for pattern in self._pinned)

    async def _known(self, reference: Reference, resolved: Resolved, hold: Hold) -> Image | None:
        """The image by its digest, if it is here and whole."""
        try:
            image = self._images.get(reference.with_digest(resolved.descriptor.digest))
        except NotFound:
            return None
        await hold.add(*names_of(image))
        return image if all(map(self._layers.is_unpacked, image.chain_ids)) else None

    async def _fetch(self, source: Source, resolved: Resolved, hold: Hold, progress: PullProgress) -> Image:
        reader = DocumentReader(self._content, self._blocking, source, hold, self._platform)
        with step("documents"):
            documents = await reader.read(resolved)
        failpoint("pull.documents")
        image = _image(documents, self._clock())
        await hold.add(*names_of(image))
        if await self._unpack(source, image, documents, progress):
            with step("sync"):
                await self._blocking(self._snapshots.sync)
            failpoint("pull.synced")
        return image

    async def _unpack(self, source: Source, image: Image, documents: Documents, progress: PullProgress) -> bool:
        """Make the snapshots that are missing; whether there were any."""
        slots = asyncio.Semaphore(self._layers_at_once)
        if documents.config is None:
            return await self._artifacts.make(source, image, slots, progress.states)
        stack = Stack(
            source=source,
            layers=image.layers,
            diff_ids=documents.config.diff_ids,
            chain_ids=image.chain_ids,
            slots=slots,
        )
        return await self._layers.unpack(stack, progress.states)


def _names(reference: Reference, resolved: Resolved) -> tuple[str, ...]:
    by_digest = reference.with_digest(resolved.descriptor.digest)
    return (by_digest,) if reference.digest else (str(reference), by_digest)


def _image(documents: Documents, created_at: float) -> Image:
    manifest, config = documents.manifest, documents.config
    blobs = (documents.target, manifest.config, *manifest.layers)
    return Image(
        id=manifest.config.digest if config else documents.target.digest,
        target=documents.target,
        names=(),
        layers=manifest.layers if config else blobs[1:],
        chain_ids=chain_ids(config.diff_ids) if config else (chain_id(documents.target.digest),),
        config=config.raw if config else b"{}",
        artifact_type="" if config else manifest.config.media_type,
        size=sum(blob.size for blob in blobs),
        created_at=created_at,
        annotations=manifest.annotations,
    )
