"""containerd.services.snapshots.v1.Snapshots, to look at: snapshots are made by pulls and containers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from itertools import islice

from core.api import snapshots_service_pb2 as api
from core.images.blocking import Blocking
from core.services.caller import Namespaced
from core.services.filters import passing
from core.services.times import timestamp
from core.snapshots.snapshotter import Kind, SnapshotInfo
from core.snapshots.snapshotters import Snapshotters

_KINDS: Mapping[Kind, api.Kind] = {Kind.VIEW: api.VIEW, Kind.ACTIVE: api.ACTIVE, Kind.COMMITTED: api.COMMITTED}
_PAGE = 1000  # snapshots in one message


class SnapshotsService(Namespaced):
    def __init__(self, snapshotters: Snapshotters, blocking: Blocking) -> None:
        self._snapshotters = snapshotters
        self._blocking = blocking

    async def stat(self, request: api.StatSnapshotRequest) -> api.StatSnapshotResponse:
        return api.StatSnapshotResponse(info=_to_api(self._snapshotters.get(request.snapshotter).stat(request.key)))

    async def list(self, request: api.ListSnapshotsRequest) -> AsyncGenerator[api.ListSnapshotsResponse, None]:
        snapshots = self._snapshotters.get(request.snapshotter).walk()
        fields = (({"name": one.name, "parent": one.parent, "kind": one.kind.value}, one) for one in snapshots)
        chosen = iter(passing(request.filters, fields))
        while page := list(islice(chosen, _PAGE)):
            yield api.ListSnapshotsResponse(info=map(_to_api, page))

    async def usage(self, request: api.UsageRequest) -> api.UsageResponse:
        usage = await self._blocking(self._snapshotters.get(request.snapshotter).usage, request.key)
        return api.UsageResponse(size=usage.size, inodes=usage.inodes)


def _to_api(info: SnapshotInfo) -> api.Info:
    at = timestamp(info.created_at)
    return api.Info(name=info.name, parent=info.parent, kind=_KINDS[info.kind], created_at=at, updated_at=at)
