"""Content.Write: one stream of requests fills one ingest, and may make a blob of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from core.api import content_service_pb2 as api
from core.content.content import ContentStore, Writer
from core.errdefs import AlreadyExists, DataLoss, FailedPrecondition, InvalidArgument, NotFound
from core.images.blocking import Blocking
from core.metadata.content_labels import ContentLabels
from core.metadata.leases import Leases, Resource
from core.services.caller import lease
from core.types import Labels, digest

MAX_REF = 1024  # characters


async def write(
    content: ContentStore,
    labels: ContentLabels,
    leases: Leases,
    blocking: Blocking,
    requests: AsyncIterator[api.WriteContentRequest],
) -> AsyncGenerator[api.WriteContentResponse, None]:
    """Answer each request; a stream that ends early leaves the ingest for another one.

    Raises InvalidArgument, AlreadyExists (the blob), Unavailable (the ingest has a writer), FailedPrecondition (size or
    digest are not as expected: then the ingest is gone), NotFound (lease), ResourceExhausted.
    """
    writing: _Writing | None = None
    try:
        async for request in requests:
            if writing is None:
                writing = await _open(content, labels, leases, blocking, request)
            elif request.ref not in ("", writing.ref):
                raise InvalidArgument(f"ingest {writing.ref!r}: one stream writes one ingest")
            yield await writing.answer(request)
            if request.action == api.COMMIT:
                return
    finally:
        if writing:
            await blocking(writing.writer.close)


async def _open(
    content: ContentStore,
    labels: ContentLabels,
    leases: Leases,
    blocking: Blocking,
    request: api.WriteContentRequest,
) -> _Writing:
    if not 0 < len(request.ref) <= MAX_REF:
        raise InvalidArgument(f"ingest: want a ref of 1 to {MAX_REF} characters")
    if lease():
        leases.get(lease())
    writer = await blocking(content.writer, request.ref)
    return _Writing(content, labels, leases, blocking, ref=request.ref, writer=writer)


class _Writing:
    def __init__(
        self,
        content: ContentStore,
        labels: ContentLabels,
        leases: Leases,
        blocking: Blocking,
        *,
        ref: str,
        writer: Writer,
    ) -> None:
        self.ref = ref
        self.writer = writer
        self._content = content
        self._labels = labels
        self._leases = leases
        self._blocking = blocking
        self._total = 0
        self._expected = ""

    async def answer(self, request: api.WriteContentRequest) -> api.WriteContentResponse:
        self._total = request.total or self._total
        if request.expected and request.expected != self._expected:
            self._expected = digest(request.expected)
            await self._refuse_existing(request.expected)
        if request.action != api.STAT and request.data:
            await self._append(request)
        response = api.WriteContentResponse(
            action=request.action, offset=self.writer.offset, total=self._total, digest=self.writer.digest
        )
        if request.action == api.COMMIT:
            await self._commit(request.labels)
            response.digest = self._expected
        return response

    async def _append(self, request: api.WriteContentRequest) -> None:
        if request.offset != self.writer.offset:
            raise InvalidArgument(f"ingest {self.ref!r}: is at {self.writer.offset}, and not at {request.offset}")
        if self._total and request.offset + len(request.data) > self._total:
            raise InvalidArgument(f"ingest {self.ref!r}: more than the {self._total} bytes that were announced")
        await self._blocking(self.writer.write, request.data)

    async def _commit(self, labels: Labels) -> None:
        """The lease and the labels first: nothing must be free in between."""
        self._expected = self._expected or self.writer.digest
        await self._refuse_existing(self._expected)
        await self._labels.put(digest(self._expected), labels)
        try:
            await self._blocking(self.writer.commit, self._total or -1, digest(self._expected))
        except DataLoss as exc:
            await self._labels.forget([self._expected])
            raise FailedPrecondition(str(exc)) from exc

    async def _refuse_existing(self, expected: str) -> None:
        if lease():
            await self._leases.add(lease(), Resource(type="content", id=expected))
        try:
            await self._blocking(self._content.info, digest(expected))
        except NotFound:
            return
        await self._blocking(self.writer.abort)
        raise AlreadyExists(f"content {expected}")
