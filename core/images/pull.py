"""Pulling: from a reference to an image that containers can stand on.

    resolve ─▶ index ─▶ manifest ─▶ config ─▶ layers (core.images.layers) ─▶ sync ─▶ image record, durable

Nothing refers to what was pulled until the record is there, so an image is whole or absent. While a pull runs it holds
what it needs (core.images.holds). What a crash leaves at each step is unreferenced and found again by its digest: the
next pull goes on from there, or the next collection removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from core.content.content import ContentStore
from core.errdefs import InvalidArgument, NotFound
from core.failpoint import failpoint
from core.images.artifacts import chain_id
from core.images.blocking import Blocking
from core.images.documents import DocumentReader, Documents
from core.images.flights import Flights
from core.images.gc import names_of
from core.images.holds import Hold, Holds
from core.images.images import Image, ImageStore
from core.images.pace import watched
from core.images.places import Place, Places
from core.images.progress import LayerProgress, PullProgress
from core.images.source import Nowhere, Source
from core.images.verification import ImageVerifier, Policy
from core.oci.image import chain_ids, parse_config
from core.remotes.auth import Credentials
from core.remotes.foreign import ForeignHosts
from core.remotes.reference import Reference
from core.remotes.registry import Registry, Resolved
from core.steps import step
from core.telemetry import SILENT, Telemetry, timed
from core.types import Descriptor, Platform

MAX_LAYERS_AT_ONCE = 3  # of one pull, as the peers; more does not make one registry faster

_UNTYPED = "application/octet-stream"  # RFC 2046, 4.5.1: what has no type


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    reference: Reference
    credentials: Credentials | None
    """Part of the key: who may not read an image must not share in another's pull of it."""
    snapshotter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What is pulled from where to where."""

    reference: Reference
    source: Source
    place: Place
    progress: PullProgress


class Puller:
    def __init__(
        self,
        *,
        registry: Registry,
        images: ImageStore,
        content: ContentStore,
        places: Places,
        holds: Holds,
        blocking: Blocking,
        platform: Platform,
        clock: Callable[[], float],
        layers_at_once: int = MAX_LAYERS_AT_ONCE,
        pinned: Iterable[str] = (),
        foreign: ForeignHosts | None = None,
        verifier: ImageVerifier | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        """`clock` tells the seconds since the epoch; `pinned` are patterns (fnmatch) of the full
        names of images that the kubelet shall keep."""
        self._registry = registry
        self._images = images
        self._content = content
        self._places = places
        self._holds = holds
        self._blocking = blocking
        self._platform = platform
        self._clock = clock
        self._layers_at_once = layers_at_once
        self._pinned = tuple(pinned)
        self._foreign = foreign or ForeignHosts()
        self._verifier = verifier or ImageVerifier(Policy())
        self._telemetry = telemetry
        self._flights: Flights[_Key, PullProgress, Image] = Flights()

    async def pull(self, name: str, credentials: Credentials | None = None, *, snapshotter: str = "") -> Image:
        """Make the image that `name` means now the one that is here under that name, whole and durable, unpacked in
        `snapshotter` ("" for the node's default).

        Equal pulls share the work. When the last caller is cancelled the work is, and leaves only what the next pull
        can use. Raises InvalidArgument (name, image), NotFound, Unauthenticated, PermissionDenied, Unavailable (all of
        them name every host), Refused, DataLoss (a digest), ResourceExhausted, Unimplemented.
        """
        reference, snapshotter = Reference.parse(name), self._places.name(snapshotter)
        key = _Key(reference=reference, credentials=credentials, snapshotter=snapshotter)
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
        order = _Order(reference=reference, source=Nowhere(), place=self._places.get(""), progress=PullProgress())
        return await self._take(order, Resolved(descriptor=target, raw=None), (str(reference),))

    async def unpack(self, image: Image, snapshotter: str) -> None:
        """Have `image`, which was pulled, in `snapshotter`, too; at once when it is there.

        Raises NotFound (a blob that it needs), DataLoss, ResourceExhausted.
        """
        place = self._places.get(snapshotter)
        if place.has(image):
            return
        async with self._holds.hold() as hold:
            await hold.add(*names_of(image))
            diff_ids = () if image.artifact_type else (await self._blocking(parse_config, image.config)).diff_ids
            with step("unpack"):
                await place.unpack(Nowhere(), image, diff_ids, at_once=self._layers_at_once, states=[])

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
        place = self._places.get(key.snapshotter)
        order = _Order(reference=key.reference, source=repository, place=place, progress=progress)
        return await self._take(order, resolved, _names(key.reference, resolved))

    async def _take(self, order: _Order, resolved: Resolved, names: tuple[str, ...]) -> Image:
        """Unpack what is not unpacked, and record the image under `names`."""
        async with self._holds.hold() as hold:
            await hold.add(resolved.descriptor.digest)
            image = await self._known(order, resolved, hold)
            if image is None:
                image = await self._fetch(order, resolved, hold)
            image = replace(image, pinned=image.pinned or self._is_pinned(names))
            with step("record"):
                stored = await self._blocking(self._images.put, image, names)
            failpoint("pull.recorded")
            return stored

    def _is_pinned(self, names: Iterable[str]) -> bool:
        return any(fnmatchcase(name, pattern) for name in names for pattern in self._pinned)

    async def _known(self, order: _Order, resolved: Resolved, hold: Hold) -> Image | None:
        """The image by its digest, if it is here and whole."""
        try:
            image = self._images.get(order.reference.with_digest(resolved.descriptor.digest))
        except NotFound:
            return None
        await hold.add(*names_of(image))
        return image if order.place.has(image) else None

    async def _fetch(self, order: _Order, resolved: Resolved, hold: Hold) -> Image:
        reader = DocumentReader(
            self._content,
            self._blocking,
            order.source,
            hold,
            platform=self._platform,
            foreign=self._foreign,
        )
        with step("documents"):
            documents = await reader.read(resolved)
        failpoint("pull.documents")
        image = _image(documents, self._clock())
        await hold.add(*names_of(image))
        diff_ids = documents.config.diff_ids if documents.config else ()
        states = order.progress.states
        await order.place.unpack(order.source, image, diff_ids, at_once=self._layers_at_once, states=states)
        failpoint("pull.synced")
        return image


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
        artifact_type="" if config else manifest.config.media_type or _UNTYPED,
        size=sum(blob.size for blob in blobs),
        created_at=created_at,
        annotations=manifest.annotations,
    )
