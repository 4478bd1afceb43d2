"""Calls of containerd's services and of ours beside them, which the daemon has on CRI's socket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from core.api import content_service_pb2, crisp_upkeep_pb2, images_service_pb2, leases_service_pb2
from cri.cli.client import DEADLINE, Client

_METHODS: dict[str, MethodDescriptor] = {
    f"{service.name}.{method.name}": method
    for file in (content_service_pb2, images_service_pb2, leases_service_pb2, crisp_upkeep_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_NAMESPACE = ("containerd-namespace", "k8s.io")
_LIFE = "containerd.io/gc.expire"


class Containerd:
    """Calls by service and method: `containerd.call("Images.Get", request)`. All raise CallFailed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._metadata = [_NAMESPACE]

    def call(self, rpc: str, request: Message, timeout: float | None = DEADLINE) -> Any:
        """`timeout` is in seconds, None for no limit."""
        call = self._client.callable(_METHODS[rpc])
        return self._client.result(call.future(request, timeout=timeout, metadata=self._metadata))

    def stream(self, rpc: str, request: Message) -> Iterator[Any]:
        try:
            yield from self._client.callable(_METHODS[rpc])(request, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._client.failure(error) from None

    @contextlib.contextmanager
    def exchange(self, rpc: str) -> Iterator[Exchange]:
        """A stream both ways; it has ended at both sides when the block has."""
        requests: SimpleQueue[Message | None] = SimpleQueue()
        responses = self._client.callable(_METHODS[rpc])(iter(requests.get, None), metadata=self._metadata)
        try:
            yield Exchange(self._client, requests, responses)
        finally:
            requests.put(None)
            with contextlib.suppress(grpc.RpcError):  # of a call that failed: told already
                list(responses)

    @contextlib.contextmanager
    def lease(self, expires: str) -> Iterator[None]:
        """What is written inside the block stays until its end, or until `expires` (RFC 3339) if we die."""
        request = leases_service_pb2.CreateRequest(labels={_LIFE: expires})
        lease = self.call("Leases.Create", request).lease.id
        self._metadata = [_NAMESPACE, ("containerd-lease", lease)]
        try:
            yield
        finally:
            self._metadata = [_NAMESPACE]
            self.call("Leases.Delete", leases_service_pb2.DeleteRequest(id=lease, sync=True))


class Exchange:
    """One response for each request, so that never more than one is on its way."""

    def __init__(self, client: Client, requests: SimpleQueue[Message | None], responses: Iterator[Any]) -> None:
        self._client = client
        self._requests = requests
        self._responses = responses

    def ask(self, request: Message) -> Any:
        """Raises CallFailed."""
        self._requests.put(request)
        try:
            return next(self._responses)
        except grpc.RpcError as error:
            raise self._client.failure(error) from None
