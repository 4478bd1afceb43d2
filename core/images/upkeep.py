"""Whether what images are made of is still what their digests say; on request it is fetched and unpacked again.

A disk or a power cut can leave a blob short, empty or wrong with its name in place, and no pull looks at it again:
it is there by name (containerd#5854, #10843). A crash in between leaves a blob missing, which the next run finds.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial

from core.content.content import ContentStore
from core.errdefs import CrispError, NotFound
from core.images.blocking import Blocking
from core.images.gc import names_of
from core.images.holds import Holds
from core.images.images import Image, ImageStore
from core.images.layers import Layers, Stack
from core.images.places import Places, stack_of
from core.images.pull import Puller
from core.images.source import Nowhere
from core.log import get_logger
from core.oci.image import parse_config
from core.remotes.reference import Reference
from core.remotes.registry import Registry, Repository
from core.snapshots.snapshotter import Kind
from core.snapshots.snapshotters import Snapshotters
from core.types import Descriptor, Digest

log = get_logger(__name__)

_UNKNOWN = -1  # size of a blob of which only the digest is recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    image: str
    """A name of it, or its id."""
    subject: str
    """Digest of a blob or chain id of a layer."""
    problem: str
    repaired: bool
    reason: str = ""
    """Why it could not be repaired."""


class _Known:
    """What one run has looked at."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.damaged: set[Digest] = set()

    def is_new(self, subject: str) -> bool:
        """Whether nobody has asked for it yet."""
        is_new = subject not in self._seen
        self._seen.add(subject)
        return is_new


class Upkeep:
    def __init__(
        self,
        *,
        images: ImageStore,
        content: ContentStore,
        snapshotters: Snapshotters,
        places: Places,
        puller: Puller,
        registry: Registry,
        holds: Holds,
        blocking: Blocking,
    ) -> None:
        self._images = images
        self._content = content
        self._snapshotters = snapshotters
        self._places = places
        self._puller = puller
        self._registry = registry
        self._holds = holds
        self._blocking = blocking

    async def verify(self, *, repair: bool) -> AsyncGenerator[Finding, None]:
        """Read every blob that an image needs and compare every layer with the files that it became; what is wrong, as
        it is found."""
        known = _Known()
        for image in self._images.list():
            async with self._holds.hold() as hold:
                await hold.add(*names_of(image))
                async for subject, problem, mend in self._problems(image, known):
                    reason = await _reason(mend) if repair else ""
                    finding = Finding(
                        image=image.names[0] if image.names else image.id,
                        subject=subject,
                        problem=problem,
                        repaired=repair and not reason,
                        reason=reason,
                    )
                    log.warning("image damaged", image=finding.image, subject=subject, problem=problem, reason=reason)
                    yield finding

    async def _problems(self, image: Image, known: _Known) -> AsyncGenerator[tuple[str, str, Mend], None]:
        """What it is about, what is wrong, and what mends it; blobs first, since layers are made of them."""
        for blob, mend in self._blobs(image):
            if known.is_new(blob.digest) and (problem := await self._blocking(self._problem, blob)):
                known.damaged.add(blob.digest)
                yield blob.digest, problem, mend
        for layer in image.chain_ids:
            if known.is_new(layer) and not self._is_unpacked(layer):
                yield layer, "not unpacked", partial(self._unpack, image)
        if not image.artifact_type:
            async for difference in self._differences(image, known):
                yield difference

    async def _differences(self, image: Image, known: _Known) -> AsyncGenerator[tuple[str, str, Mend], None]:
        """Of files, in every snapshotter. Where a blob is still wrong there is nothing to compare with."""
        for blob in image.layers:
            if blob.digest in known.damaged and await self._blocking(self._problem, blob) != "":
                return
        stack = stack_of(Nowhere(), image, (await self._blocking(parse_config, image.config)).diff_ids)
        for name, place in self._places.named.items():
            for depth in place.layers.mounted(stack):
                layer = stack.chain_ids[depth]
                if not known.is_new(f"{name} {layer}") or not place.layers.is_unpacked(layer):
                    continue
                if problem := await _difference(place.layers, stack, depth):
                    yield layer, problem, partial(place.layers.remake, stack, depth)

    def _blobs(self, image: Image) -> Iterator[tuple[Descriptor, Mend]]:
        """All that it needs, each once, and what fetches it."""
        if not image.artifact_type:
            config = Descriptor(media_type="", digest=image.id, size=len(image.config))
            yield config, partial(self._write, config, image.config)
        for layer in image.layers:
            yield layer, partial(self._from_registry, image, layer, self._fetch_layer)
        indexes = {Digest(name.partition("@")[2]) for name in image.names if "@" in name}
        unsized = (Descriptor(media_type="", digest=one, size=_UNKNOWN) for one in indexes - {image.target.digest})
        for document in (image.target, *unsized):
            yield document, partial(self._from_registry, image, document, self._fetch_document)

    def _problem(self, blob: Descriptor) -> str:
        try:
            size, path = self._content.info(blob.digest).size, self._content.path(blob.digest)
            if blob.size not in (_UNKNOWN, size):
                return f"{size} bytes, and not {blob.size}"
            with open(path, "rb") as file:
                algorithm, _, expected = blob.digest.partition(":")
                actual = hashlib.file_digest(file, algorithm).hexdigest()
        except (NotFound, FileNotFoundError):
            return "missing"
        except OSError as exc:
            return f"cannot be read: {exc.strerror}"
        return "" if actual == expected else f"its digest is {algorithm}:{actual}"

    def _is_unpacked(self, chain_id: str) -> bool:
        """In any of them: a handler's snapshotter gets what it lacks when its first container is created."""
        with suppress(NotFound):
            return self._snapshotters.of(chain_id).stat(chain_id).kind is Kind.COMMITTED
        return False

    async def _unpack(self, image: Image) -> None:
        if not image.names:
            raise NotFound(f"image {image.id} has no name: remove it, and pull or import it again")
        await self._puller.adopt(next(iter(image.names)), image.target)

    async def _from_registry(self, image: Image, blob: Descriptor, fetch: _Fetch) -> None:
        """From where the image was pulled, with the node's own credentials. Raises what the last registry did."""
        failure: CrispError = NotFound(f"image {image.id} has no name to fetch it by: remove it, and pull it again")
        for repository in {Reference.parse(name).with_digest(blob.digest): None for name in image.names}:
            try:
                return await fetch(await self._registry.repository(Reference.parse(repository), None), blob)
            except CrispError as exc:
                failure = exc
        raise failure

    async def _fetch_document(self, repository: Repository, blob: Descriptor) -> None:
        resolved = await repository.resolve()
        await self._write(blob, resolved.raw or await repository.document(resolved.descriptor))

    async def _fetch_layer(self, repository: Repository, blob: Descriptor) -> None:
        await self._forget(blob.digest)
        writer = await self._blocking(self._content.writer, f"layer-{blob.digest}")
        try:
            async with aclosing(repository.blob(blob, writer.offset)) as body:
                async for data in body:
                    await self._blocking(writer.write, data)
            await self._blocking(writer.commit, blob.size, blob.digest)
        finally:
            await self._blocking(writer.close)

    async def _write(self, blob: Descriptor, data: bytes) -> None:
        await self._forget(blob.digest)
        writer = await self._blocking(self._content.writer, f"document-{secrets.token_hex(8)}")
        try:
            await self._blocking(writer.write, data)
            await self._blocking(writer.commit, len(data), blob.digest)
        finally:
            await self._blocking(writer.abort)

    async def _forget(self, blob: Digest) -> None:
        with suppress(NotFound):
            await self._blocking(self._content.delete, blob)


Mend = Callable[[], Awaitable[None]]
_Fetch = Callable[[Repository, Descriptor], Awaitable[None]]


async def _difference(layers: Layers, stack: Stack, depth: int) -> str:
    """What is wrong with the files of a snapshot, "" when nothing is."""
    try:
        found = await layers.difference(stack, depth)
    except CrispError as exc:
        return f"cannot be compared: {exc}"
    return f"{found.count} files differ: {'; '.join(found.problems)}" if found.count else ""


async def _reason(mend: Mend) -> str:
    """Why it fails, "" when it does not."""
    try:
        await mend()
    except CrispError as exc:
        return str(exc)
    return ""
