"""containerd.services.leases.v1.Leases."""

from __future__ import annotations

import re
import secrets

from google.protobuf.empty_pb2 import Empty

from core.api import leases_service_pb2 as api
from core.errdefs import InvalidArgument
from core.images.gc import Collector
from core.metadata.leases import Lease, Leases, Resource
from core.services.caller import Namespaced
from core.services.filters import passing
from core.services.times import timestamp
from core.types import digest

_CONTENT = "content"
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")  # a file's name; clients end theirs with random base64url


class LeasesService(Namespaced):
    def __init__(self, leases: Leases, collector: Collector) -> None:
        self._leases = leases
        self._collector = collector

    async def create(self, request: api.CreateRequest) -> api.CreateResponse:
        lease_id = request.id or secrets.token_hex(16)
        if not _ID.fullmatch(lease_id):
            raise InvalidArgument(f"lease {lease_id[:160]!r}: want 1 to 128 of A-Z a-z 0-9 . _ - and no . in front")
        return api.CreateResponse(lease=_to_api(await self._leases.create(lease_id, request.labels)))

    async def delete(self, request: api.DeleteRequest) -> Empty:
        await self._leases.delete(request.id)
        if request.sync:
            await self._collector.collect()
        return Empty()

    async def list(self, request: api.ListRequest) -> api.ListResponse:
        fields = (({"id": lease.id, "labels": lease.labels}, _to_api(lease)) for lease in self._leases.list())
        return api.ListResponse(leases=passing(request.filters, fields))

    async def add_resource(self, request: api.AddResourceRequest) -> Empty:
        await self._leases.add(request.id, _resource(request.resource))
        return Empty()

    async def delete_resource(self, request: api.DeleteResourceRequest) -> Empty:
        await self._leases.drop(request.id, _resource(request.resource))
        return Empty()

    async def list_resources(self, request: api.ListResourcesRequest) -> api.ListResourcesResponse:
        held = self._leases.get(request.id).resources
        return api.ListResourcesResponse(resources=[api.Resource(id=one.id, type=one.type) for one in held])


def _resource(resource: api.Resource) -> Resource:
    """Raises InvalidArgument (a digest)."""
    if resource.type == _CONTENT:
        digest(resource.id)
    return Resource(type=resource.type, id=resource.id)


def _to_api(lease: Lease) -> api.Lease:
    return api.Lease(id=lease.id, created_at=timestamp(lease.created_at), labels=lease.labels)
