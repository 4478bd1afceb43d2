"""From what a name means to the manifest and config for this platform: documents fetched, checked and kept."""

from __future__ import annotations

import secrets
from contextlib import aclosing
from dataclasses import dataclass

from core.content.content import ContentStore
from core.errdefs import CrispError, InvalidArgument, NotFound
from core.images.blocking import Blocking
from core.images.holds import Hold
from core.images.platforms import candidates
from core.images.source import Source
from core.oci.image import CONFIG_TYPES, MAX_DOCUMENT, ImageConfig, Index, Manifest, parse_config, parse_manifest
from core.remotes.foreign import ForeignHosts
from core.remotes.registry import Resolved, check
from core.types import Descriptor, Platform

MAX_INDEXES = 8  # documents read on the way to one manifest; an index of platforms needs one, of variants two


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    target: Descriptor
    """Of the manifest."""
    manifest: Manifest
    config: ImageConfig | None
    """None: an artifact, whose config is not for us to read."""


class DocumentReader:
    """Reads for one pull, from the content store where it can."""

    def __init__(
        self,
        content: ContentStore,
        blocking: Blocking,
        source: Source,
        hold: Hold,
        *,
        platform: Platform,
        foreign: ForeignHosts,
    ) -> None:
        self._content = content
        self._blocking = blocking
        self._source = source
        self._hold = hold
        self._platform = platform
        self._foreign = foreign
        self._left = MAX_INDEXES

    async def read(self, resolved: Resolved) -> Documents:
        """Raises NotFound (platform), InvalidArgument, Unimplemented, DataLoss, and what the registry raises."""
        target, manifest = await self._manifest(resolved.descriptor, resolved.raw)
        self._check_layers(manifest)
        if manifest.config.media_type not in CONFIG_TYPES:
            return Documents(target=target, manifest=manifest, config=None)
        config = await self._blocking(parse_config, await self._config(manifest.config))
        if len(config.diff_ids) != len(manifest.layers):
            raise InvalidArgument(f"image config: {len(config.diff_ids)} diff ids for {len(manifest.layers)} layers")
        return Documents(target=target, manifest=manifest, config=config)

    async def _manifest(self, descriptor: Descriptor, raw: bytes | None) -> tuple[Descriptor, Manifest]:
        self._left -= 1
        if self._left < 0:
            raise InvalidArgument(f"more than {MAX_INDEXES} indexes lead to the manifest")
        document = await self._blocking(parse_manifest, await self._document(descriptor, raw), descriptor.media_type)
        if isinstance(document, Manifest):
            target = Descriptor(media_type=document.media_type, digest=descriptor.digest, size=len(document.raw))
            return target, document
        return await self._choose(document)

    async def _choose(self, index: Index) -> tuple[Descriptor, Manifest]:
        nothing: CrispError = NotFound("the index is empty")
        for candidate in candidates(index.manifests, self._platform):
            try:
                return await self._manifest(candidate, None)
            except NotFound as exc:  # an inner index without our platform
                nothing = exc
        raise nothing

    async def _document(self, descriptor: Descriptor, raw: bytes | None) -> bytes:
        await self._hold.add(descriptor.digest)
        try:
            return await self._blocking(self._content.read, descriptor.digest, limit=MAX_DOCUMENT)
        except NotFound:
            data = await self._source.document(descriptor) if raw is None else raw
        await self._keep(descriptor, data)
        return data

    async def _config(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > MAX_DOCUMENT:
            raise InvalidArgument(f"image config: {descriptor.size} bytes, more than {MAX_DOCUMENT}")
        await self._hold.add(descriptor.digest)
        try:
            return await self._blocking(self._content.read, descriptor.digest, limit=MAX_DOCUMENT)
        except NotFound:
            async with aclosing(self._source.blob(descriptor)) as body:
                data = b"".join([part async for part in body])
        check(data, descriptor)
        await self._keep(descriptor, data)
        return data

    async def _keep(self, descriptor: Descriptor, data: bytes) -> None:
        await self._blocking(self._write, descriptor, data)

    def _write(self, descriptor: Descriptor, data: bytes) -> None:
        writer = self._content.writer(f"document-{secrets.token_hex(8)}")  # two pulls may write the same one
        try:
            writer.write(data)
            writer.commit(len(data), descriptor.digest)
        except BaseException:
            writer.abort()
            raise

    def _check_layers(self, manifest: Manifest) -> None:
        for layer in manifest.layers:
            if layer.urls and not self._foreign.among(layer.urls):
                raise InvalidArgument(
                    f"layer {layer.digest} is foreign, and images.foreign_layer_hosts allows none of its `urls`"
                )
