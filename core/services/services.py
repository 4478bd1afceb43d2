"""containerd's own gRPC services over our stores, for its clients (`ctr -n k8s.io`) and for crispctl.

Each is a service descriptor and an object with one method per RPC, as `cri.server` serves them beside CRI. What is not
here - containers, tasks, diff - answers UNIMPLEMENTED: pods are the kubelet's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

from core.api import (
    content_service_pb2,
    crisp_upkeep_pb2,
    events_service_pb2,
    images_service_pb2,
    introspection_service_pb2,
    leases_service_pb2,
    namespaces_service_pb2,
    snapshots_service_pb2,
    version_service_pb2,
)
from core.content.content import ContentStore
from core.images.blocking import Blocking
from core.images.gc import Collector
from core.images.images import ImageStore
from core.images.pull import Puller
from core.images.upkeep import Upkeep
from core.metadata.content_labels import ContentLabels
from core.metadata.leases import Leases
from core.services.about import IntrospectionService, NamespacesService, VersionService
from core.services.content import ContentService
from core.services.events import EventsService
from core.services.images import ImagesService
from core.services.leases import LeasesService
from core.services.snapshots import SnapshotsService
from core.services.upkeep import UpkeepService
from core.snapshots.snapshotters import Snapshotters
from core.types import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDeps:
    images: ImageStore
    content: ContentStore
    labels: ContentLabels
    snapshotters: Snapshotters
    puller: Puller
    collector: Collector
    leases: Leases
    upkeep: Upkeep
    blocking: Blocking
    platform: Platform
    closing: asyncio.Event
    """Ends what would go on for ever."""
    node_id: str
    version: str


def make_services(deps: ServiceDeps) -> list[tuple[ServiceDescriptor, object]]:
    content = ContentService(deps.content, deps.labels, deps.leases, deps.collector, deps.blocking)
    names = list(deps.snapshotters.named)
    return [
        (_only(content_service_pb2.DESCRIPTOR), content),
        (_only(images_service_pb2.DESCRIPTOR), ImagesService(deps.images, deps.puller, deps.collector, deps.blocking)),
        (_only(leases_service_pb2.DESCRIPTOR), LeasesService(deps.leases, deps.collector)),
        (_only(snapshots_service_pb2.DESCRIPTOR), SnapshotsService(deps.snapshotters, deps.blocking)),
        (_only(crisp_upkeep_pb2.DESCRIPTOR), UpkeepService(deps.upkeep)),
        (_only(events_service_pb2.DESCRIPTOR), EventsService(deps.puller, deps.closing)),
        (_only(introspection_service_pb2.DESCRIPTOR), IntrospectionService(deps.node_id, names, deps.platform)),
        (_only(namespaces_service_pb2.DESCRIPTOR), NamespacesService()),
        (_only(version_service_pb2.DESCRIPTOR), VersionService(deps.version)),
    ]


def _only(file: FileDescriptor) -> ServiceDescriptor:
    (service,) = file.services_by_name.values()
    return service
