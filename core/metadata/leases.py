"""Leases: what a client needs although no image does yet, such as the blobs of an archive that it imports.

A lease holds the names of blobs, snapshots and ingests until its client deletes it, or until the time in its label
`containerd.io/gc.expire` (RFC 3339), so that what a client died over does not stay for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from core.errdefs import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from core.images.blocking import Blocking
from core.images.holds import Hold, Holds
from core.log import get_logger
from core.metadata.records import Record, RecordStore
from core.types import Labels

log = get_logger(__name__)

EXPIRE = "containerd.io/gc.expire"
FLAT = "containerd.io/gc.flat"
MAX_RESOURCES = 10_000  # of one lease: an archive of all that a node ever pulls
_KIND = "lease"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    type: str
    """`content`, `ingests` or `snapshots/<snapshotter>`."""
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    id: str
    created_at: float
    """Seconds since the epoch."""
    labels: dict[str, str]
    resources: tuple[Resource, ...] = ()

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch. Raises InvalidArgument when the label is no time."""
        if (text := self.labels.get(EXPIRE)) is None:
            return float("inf")
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError) as exc:
            raise InvalidArgument(f"lease {self.id!r}: {EXPIRE} is {text[:80]!r}: want RFC 3339") from exc


class Leases:
    """Use it inside one running loop. A crash leaves leases as they were recorded: before what they hold was there."""

    def __init__(
        self, records: RecordStore, holds: Holds, blocking: Blocking, clock: Callable[[], float]
    ) -> None:
        self._records = records
        self._holds = holds
        self._blocking = blocking
        self._clock = clock
        self._leases: dict[str, Lease] = {}
        self._held: dict[str, Hold] = {}

    async def load(self) -> None:
        """Hold again what was held by an earlier daemon. One that makes no sense is set aside."""
        for record in await self._blocking(self._records.load, _KIND):
            try:
                lease = msgspec.json.decode(record.body, type=Lease)
            except msgspec.MsgspecError as exc:
                log.error("lease makes no sense", lease=record.id, reason=exc)
                await self._blocking(self._records.set_aside, _KIND, record.id)
                continue
            self._leases[lease.id] = lease
            await self._hold(lease)

    def list(self) -> tuple[Lease, ...]:
        return tuple(self._leases.values())

    def get(self, lease_id: str) -> Lease:
        """Raises NotFound."""
        try:
            return self._leases[lease_id]
        except KeyError:
            raise NotFound(f"lease {lease_id[:160]!r}") from None

    async def create(self, lease_id: str, labels: Labels) -> Lease:
        """Raises AlreadyExists, InvalidArgument (labels)."""
        if lease_id in self._leases:
            raise AlreadyExists(f"lease {lease_id!r}")
        lease = Lease(id=lease_id, created_at=self._clock(), labels=dict(labels))
        if lease.expires_at < self._clock():
            raise InvalidArgument(f"lease {lease_id!r}: {EXPIRE} is in the past")
        self._leases[lease_id] = lease
        await self._keep(lease)
        return lease

    async def add(self, lease_id: str, resource: Resource) -> None:
        """From now on it stays, if it is there. Idempotent. Raises NotFound, ResourceExhausted."""
        lease = self.get(lease_id)
        if resource in lease.resources:
            return
        if len(lease.resources) >= MAX_RESOURCES:
            raise ResourceExhausted(f"lease {lease_id!r} has {MAX_RESOURCES} resources: take another one")
        await self._change(replace(lease, resources=(*lease.resources, resource)))

    async def drop(self, lease_id: str, resource: Resource) -> None:
        """Idempotent. Raises NotFound (lease)."""
        lease = self.get(lease_id)
        await self._change(replace(lease, resources=tuple(one for one in lease.resources if one != resource)))

    async def delete(self, lease_id: str) -> None:
        """Raises NotFound."""
        self.get(lease_id)
        await self._blocking(self._records.delete, (_KIND, lease_id))
        self._leases.pop(lease_id, None)
        if hold := self._held.pop(lease_id, None):
            self._holds.release(hold)

    def flat(self) -> set[str]:
        """What is only on leases that do not hold what it references."""
        flat, full = set[str](), set[str]()
        for lease in self._leases.values():
            (flat if lease.labels.get(FLAT) else full).update(resource.id for resource in lease.resources)
        return flat - full

    async def expire(self) -> None:
        """Delete those whose time is over."""
        for lease in self.list():
            if lease.expires_at < self._clock():
                log.info("lease expired", lease=lease.id, resources=len(lease.resources))
                await self.delete(lease.id)

    async def _change(self, lease: Lease) -> None:
        self._leases[lease.id] = lease
        await self._keep(lease)
        await self._hold(lease)

    async def _keep(self, lease: Lease) -> None:
        record = Record(kind=_KIND, id=lease.id, body=msgspec.json.encode(lease))
        await self._blocking(self._records.put, record)

    async def _hold(self, lease: Lease) -> None:
        """Hold anew before letting go of the old, so that nothing is free in between."""
        old, new = self._held.get(lease.id), self._holds.take()
        self._held[lease.id] = new
        await new.add(*(resource.id for resource in lease.resources))
        if old:
            self._holds.release(old)
