"""containerd.services.content.v1.Content over the content store.

What an image needs is read from its documents; labels are for what else a client wants to keep.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import islice

from google.protobuf.empty_pb2 import Empty

from core.api import content_service_pb2 as api
from core.content.content import BlobInfo, ContentStore, IngestStatus
from core.errdefs import FailedPrecondition, InvalidArgument, NotFound
from core.images.blocking import Blocking
from core.images.gc import Collector
from core.metadata.content_labels import ContentLabels
from core.metadata.leases import Leases
from core.services.caller import Namespaced
from core.services.filters import passing
from core.services.ingest import write
from core.services.times import timestamp
from core.types import Labels, digest

CHUNK = 1 << 20  # bytes of a blob in one message, as containerd sends them
_PAGE = 1000  # blobs in one message, which stays far below its limit of size


class ContentService(Namespaced):
    def __init__(
        self,
        content: ContentStore,
        labels: ContentLabels,
        leases: Leases,
        collector: Collector,
        blocking: Blocking,
    ) -> None:
        self._content = content
        self._labels = labels
        self._leases = leases
        self._collector = collector
        self._blocking = blocking

    async def info(self, request: api.InfoRequest) -> api.InfoResponse:
        return api.InfoResponse(info=await self._info(request.digest))

    async def update(self, request: api.UpdateRequest) -> api.UpdateResponse:
        """All labels, or those that the mask names. Raises InvalidArgument (another field, a label), NotFound."""
        blob = digest(request.info.digest)
        await self._blocking(self._content.info, blob)
        await self._labels.put(blob, _changed(self._labels.get(blob), request))
        return api.UpdateResponse(info=await self._info(blob))

    async def list(self, request: api.ListContentRequest) -> AsyncGenerator[api.ListContentResponse, None]:
        blobs = await self._blocking(lambda: tuple(self._content.walk()))
        labelled = ((blob, self._labels.get(blob.digest)) for blob in blobs)
        fields = (
            ({"digest": blob.digest, "size": str(blob.size), "labels": labels}, _info(blob, labels))
            for blob, labels in labelled
        )
        chosen = iter(passing(request.filters, fields))
        while page := list(islice(chosen, _PAGE)):
            yield api.ListContentResponse(info=page)

    async def delete(self, request: api.DeleteContentRequest) -> Empty:
        """Raises FailedPrecondition for what an image or a running pull needs."""
        blob = digest(request.digest)
        await self._blocking(self._content.info, blob)
        if not await self._collector.remove_blob(blob):
            raise FailedPrecondition(f"content {blob} is needed: remove the image or the lease that needs it")
        return Empty()

    async def read(self, request: api.ReadContentRequest) -> AsyncGenerator[api.ReadContentResponse, None]:
        path = await self._blocking(self._content.path, digest(request.digest))
        blob = await self._blocking(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(blob).st_size
            end = request.offset + request.size if request.size else size
            if request.offset < 0 or request.size < 0 or end > size:
                raise InvalidArgument(f"content {request.digest}: bytes {request.offset} to {end} of {size}")
            offset = request.offset
            while data := await self._blocking(os.pread, blob, min(CHUNK, end - offset), offset):
                yield api.ReadContentResponse(offset=offset, data=data)
                offset += len(data)
        finally:
            os.close(blob)

    async def status(self, request: api.StatusRequest) -> api.StatusResponse:
        for ingest in await self._ingests():
            if ingest.ref == request.ref:
                return api.StatusResponse(status=_status(ingest))
        raise NotFound(f"ingest {request.ref[:160]!r}")

    async def list_statuses(self, request: api.ListStatusesRequest) -> api.ListStatusesResponse:
        chosen = passing(request.filters, (({"ref": ingest.ref}, ingest) for ingest in await self._ingests()))
        return api.ListStatusesResponse(statuses=map(_status, chosen))

    def write(self, requests: AsyncIterator[api.WriteContentRequest]) -> AsyncGenerator[api.WriteContentResponse, None]:
        return write(self._content, self._labels, self._leases, self._blocking, requests)

    async def abort(self, request: api.AbortRequest) -> Empty:
        await self._blocking(self._content.remove_ingest, request.ref)
        return Empty()

    async def _info(self, blob: str) -> api.Info:
        """Raises NotFound, InvalidArgument."""
        found = await self._blocking(self._content.info, digest(blob))
        return _info(found, self._labels.get(found.digest))

    async def _ingests(self) -> tuple[IngestStatus, ...]:
        return await self._blocking(lambda: tuple(self._content.ingests()))


def _info(blob: BlobInfo, labels: Labels) -> api.Info:
    at = timestamp(blob.created_at)
    return api.Info(digest=blob.digest, size=blob.size, created_at=at, updated_at=at, labels=labels)


def _changed(labels: Labels, request: api.UpdateRequest) -> Labels:
    """As the request's mask says; a label that it sets to nothing goes. Raises InvalidArgument (another field)."""
    given, paths = request.info.labels, request.update_mask.paths
    if not paths or "labels" in paths:
        return dict(given)
    changed = dict(labels)
    for path in paths:
        field, _, key = path.partition(".")
        if field != "labels" or not key:
            raise InvalidArgument(f"content {request.info.digest}: {path[:80]!r} cannot be changed, only labels can")
        changed[key] = given.get(key, "")
    return {key: value for key, value in changed.items() if value}


def _status(ingest: IngestStatus) -> api.Status:
    at = timestamp(ingest.updated_at)
    return api.Status(ref=ingest.ref, offset=ingest.offset, started_at=at, updated_at=at)
