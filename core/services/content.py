"""containerd.services.content.v1.Content over the content store.

Labels are not kept: what an image needs is read from its documents, and what a client needs is on its lease.
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
from core.metadata.leases import Leases
from core.services.caller import Namespaced
from core.services.filters import passing
from core.services.ingest import write
from core.services.times import timestamp
from core.types import digest

CHUNK = 1 << 20  # bytes of a blob in one message, as containerd sends them
_PAGE = 1000  # blobs in one message, which stays far below its limit of size


class ContentService(Namespaced):
    def __init__(
        self, content: ContentStore, leases: Leases, collector: Collector, blocking: Blocking
    ) -> None:
        self._content = content
        self._leases = leases
        self._collector = collector
        self._blocking = blocking

    async def info(self, request: api.InfoRequest) -> api.InfoResponse:
        return api.InfoResponse(info=_info(await self._blocking(self._content.info, digest(request.digest))))

    async def update(self, request: api.UpdateRequest) -> api.UpdateResponse:
        """Nothing of a blob can be changed; that labels were set is no error to clients, and no lie: none come back."""
        return api.UpdateResponse(info=_info(await self._blocking(self._content.info, digest(request.info.digest))))

    async def list(self, request: api.ListContentRequest) -> AsyncGenerator[api.ListContentResponse, None]:
        blobs = await self._blocking(lambda: tuple(self._content.walk()))
        fields = ({"digest": blob.digest, "size": str(blob.size)} for blob in blobs)
        chosen = iter(passing(request.filters, zip(fields, blobs)))
        while page := list(islice(chosen, _PAGE)):
            yield api.ListContentResponse(info=map(_info, page))

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
        return write(self._content, self._leases, self._blocking, requests)

    async def abort(self, request: api.AbortRequest) -> Empty:
        await self._blocking(self._content.remove_ingest, request.ref)
        return Empty()

    async def _ingests(self) -> tuple[IngestStatus, ...]:
        return await self._blocking(lambda: tuple(self._content.ingests()))


def _info(blob: BlobInfo) -> api.Info:
    at = timestamp(blob.created_at)
    return api.Info(digest=blob.digest, size=blob.size, created_at=at, updated_at=at)


def _status(ingest: IngestStatus) -> api.Status:
    at = timestamp(ingest.updated_at)
    return api.Status(ref=ingest.ref, offset=ingest.offset, started_at=at, updated_at=at)
