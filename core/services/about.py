"""What clients ask before they begin: version, introspection and namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterable

from google.protobuf.empty_pb2 import Empty

from core.api import introspection_service_pb2 as introspection
from core.api import namespaces_service_pb2 as namespaces
from core.api import version_service_pb2 as version
from core.api.types_pb2 import Platform as WirePlatform
from core.errdefs import NotFound
from core.services.caller import NAMESPACE
from core.services.filters import passing
from core.types import Platform


class VersionService:
    def __init__(self, number: str) -> None:
        self._number = number

    async def version(self, _request: Empty) -> version.VersionResponse:
        return version.VersionResponse(version=self._number)


class IntrospectionService:
    def __init__(self, node_id: str, snapshotters: Iterable[str], platform: Platform) -> None:
        """`node_id` stays the same as long as the node's content does."""
        self._node_id = node_id
        runs = WirePlatform(os=platform.os, architecture=platform.architecture, variant=platform.variant)
        self._plugins = [
            introspection.Plugin(type="io.containerd.content.v1", id="content"),
            *(
                introspection.Plugin(type="io.containerd.snapshotter.v1", id=name, platforms=[runs])
                for name in sorted(snapshotters)
            ),
        ]

    async def plugins(self, request: introspection.PluginsRequest) -> introspection.PluginsResponse:
        fields = (({"type": plugin.type, "id": plugin.id}, plugin) for plugin in self._plugins)
        return introspection.PluginsResponse(plugins=passing(request.filters, fields))

    async def server(self, _request: Empty) -> introspection.ServerResponse:
        pid_namespace = os.stat("/proc/self/ns/pid").st_ino
        return introspection.ServerResponse(uuid=self._node_id, pid=os.getpid(), pidns=pid_namespace)


class NamespacesService:
    async def get(self, request: namespaces.GetNamespaceRequest) -> namespaces.GetNamespaceResponse:
        if request.name != NAMESPACE:
            raise NotFound(f"namespace {request.name[:160]!r}: everything is in {NAMESPACE!r} here")
        return namespaces.GetNamespaceResponse(namespace=namespaces.Namespace(name=NAMESPACE))

    async def list(self, request: namespaces.ListNamespacesRequest) -> namespaces.ListNamespacesResponse:
        only = namespaces.Namespace(name=NAMESPACE)
        return namespaces.ListNamespacesResponse(namespaces=passing([request.filter], [({"name": NAMESPACE}, only)]))
